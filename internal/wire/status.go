package wire

import "strings"

// StatusText returns the reason phrase of a status, or "" for a status that
// this package has no text for.
func StatusText(status int) string {
	_, text, _ := strings.Cut(strings.TrimSuffix(statusLine(status), "\r\n"), " ")
	_, text, _ = strings.Cut(text, " ")
	return text
}

// statusLine returns the start line of a status that this server sends, or "" for others. A table
// of these by their numbers would be 8 KB of next to nothing.
func statusLine(status int) string {
	switch status {
	case 100:
		return "HTTP/1.1 100 Continue\r\n"
	case 101:
		return "HTTP/1.1 101 Switching Protocols\r\n"
	case 200:
		return "HTTP/1.1 200 OK\r\n"
	case 201:
		return "HTTP/1.1 201 Created\r\n"
	case 204:
		return "HTTP/1.1 204 No Content\r\n"
	case 302:
		return "HTTP/1.1 302 Found\r\n"
	case 400:
		return "HTTP/1.1 400 Bad Request\r\n"
	case 401:
		return "HTTP/1.1 401 Unauthorized\r\n"
	case 403:
		return "HTTP/1.1 403 Forbidden\r\n"
	case 404:
		return "HTTP/1.1 404 Not Found\r\n"
	case 405:
		return "HTTP/1.1 405 Method Not Allowed\r\n"
	case 408:
		return "HTTP/1.1 408 Request Timeout\r\n"
	case 409:
		return "HTTP/1.1 409 Conflict\r\n"
	case 413:
		return "HTTP/1.1 413 Content Too Large\r\n"
	case 415:
		return "HTTP/1.1 415 Unsupported Media Type\r\n"
	case 421:
		return "HTTP/1.1 421 Misdirected Request\r\n"
	case 429:
		return "HTTP/1.1 429 Too Many Requests\r\n"
	case 431:
		return "HTTP/1.1 431 Request Header Fields Too Large\r\n"
	case 500:
		return "HTTP/1.1 500 Internal Server Error\r\n"
	case 501:
		return "HTTP/1.1 501 Not Implemented\r\n"
	case 502:
		return "HTTP/1.1 502 Bad Gateway\r\n"
	case 503:
		return "HTTP/1.1 503 Service Unavailable\r\n"
	case 504:
		return "HTTP/1.1 504 Gateway Timeout\r\n"
	case 505:
		return "HTTP/1.1 505 HTTP Version Not Supported\r\n"
	case 507:
		return "HTTP/1.1 507 Insufficient Storage\r\n"
	}
	return ""
}
