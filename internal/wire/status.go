package wire

import "strings"

// statusLines are the start lines of the statuses that this server sends.
var statusLines = [...]string{
	100: "HTTP/1.1 100 Continue\r\n",
	101: "HTTP/1.1 101 Switching Protocols\r\n",
	200: "HTTP/1.1 200 OK\r\n",
	201: "HTTP/1.1 201 Created\r\n",
	204: "HTTP/1.1 204 No Content\r\n",
	302: "HTTP/1.1 302 Found\r\n",
	400: "HTTP/1.1 400 Bad Request\r\n",
	401: "HTTP/1.1 401 Unauthorized\r\n",
	403: "HTTP/1.1 403 Forbidden\r\n",
	404: "HTTP/1.1 404 Not Found\r\n",
	405: "HTTP/1.1 405 Method Not Allowed\r\n",
	408: "HTTP/1.1 408 Request Timeout\r\n",
	409: "HTTP/1.1 409 Conflict\r\n",
	413: "HTTP/1.1 413 Content Too Large\r\n",
	415: "HTTP/1.1 415 Unsupported Media Type\r\n",
	421: "HTTP/1.1 421 Misdirected Request\r\n",
	429: "HTTP/1.1 429 Too Many Requests\r\n",
	431: "HTTP/1.1 431 Request Header Fields Too Large\r\n",
	500: "HTTP/1.1 500 Internal Server Error\r\n",
	501: "HTTP/1.1 501 Not Implemented\r\n",
	502: "HTTP/1.1 502 Bad Gateway\r\n",
	503: "HTTP/1.1 503 Service Unavailable\r\n",
	504: "HTTP/1.1 504 Gateway Timeout\r\n",
	505: "HTTP/1.1 505 HTTP Version Not Supported\r\n",
	507: "HTTP/1.1 507 Insufficient Storage\r\n",
}

// StatusText returns the reason phrase of a status, or "" for a status that
// this package has no text for.
func StatusText(status int) string {
	_, text, _ := strings.Cut(strings.TrimSuffix(statusLine(status), "\r\n"), " ")
	_, text, _ = strings.Cut(text, " ")
	return text
}

// statusLine returns the start line of a status, or "" for one without a text.
func statusLine(status int) string {
	if status < 0 || status >= len(statusLines) {
		return ""
	}
	return statusLines[status]
}
