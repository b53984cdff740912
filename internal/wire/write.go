package wire

import "strconv"

// AppendStatus appends the start line of a response. A status outside 100 to
// 999 becomes 500.
func AppendStatus(dst []byte, status int) []byte {
	if line := statusLine(status); line != "" {
		return append(dst, line...)
	}
	if status < 100 || status > 999 {
		return append(dst, statusLine(500)...)
	}
	return appendReason(dst, status, "Unknown")
}

func appendReason(dst []byte, status int, reason string) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(status), 10)
	dst = append(dst, ' ')
	dst = appendValue(dst, reason)
	return append(dst, "\r\n"...)
}

// AppendRequestLine appends the start line of a request. A method that is not a
// token, or would look like a response, becomes GET; an empty URL becomes "/";
// spaces and control characters in the URL are percent-encoded.
func AppendRequestLine(dst []byte, method, url string) []byte {
	if !validMethod(method) {
		method = "GET"
	}
	dst = append(dst, method...)
	dst = append(dst, ' ')
	switch {
	case url == "":
		dst = append(dst, '/')
	case validTarget(url):
		dst = append(dst, url...)
	default:
		dst = appendEncoded(dst, url)
	}
	return append(dst, " HTTP/1.1\r\n"...)
}

func appendEncoded(dst []byte, url string) []byte {
	const hex = "0123456789ABCDEF"
	for i := range len(url) {
		c := url[i]
		if c <= ' ' || c == 0x7f {
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		} else {
			dst = append(dst, c)
		}
	}
	return dst
}

// AppendField appends a header line, the name in lower case. Control characters
// in the value, except tabs, become spaces. A field whose name is not a token
// of at most 64 bytes is left out, and so are content-length and
// transfer-encoding, which AppendBody alone may write: no field can break the
// framing of this message or the next.
func AppendField(dst []byte, name, value string) []byte {
	base := len(dst)
	if dst = appendName(dst, name); len(dst) == base {
		return dst
	}
	dst = appendValue(dst, value)
	return append(dst, "\r\n"...)
}

// AppendInt appends a header line with a decimal number, by the rules of AppendField.
func AppendInt(dst []byte, name string, v int64) []byte {
	base := len(dst)
	if dst = appendName(dst, name); len(dst) == base {
		return dst
	}
	dst = strconv.AppendInt(dst, v, 10)
	return append(dst, "\r\n"...)
}

// appendName appends the name, a colon and a space, or nothing if the field has
// to be left out.
func appendName(dst []byte, name string) []byte {
	n, upper := scanToken(name)
	if n == 0 || n != len(name) || n > maxName || framing(name) {
		return dst
	}
	base := len(dst)
	dst = append(dst, name...)
	if upper {
		for i := base; i < len(dst); i++ {
			dst[i] = lowerToken[dst[i]]
		}
	}
	return append(dst, ": "...)
}

func appendValue(dst []byte, value string) []byte {
	base := len(dst)
	dst = append(dst, value...)
	if noControls(value) {
		return dst
	}
	for i := base; i < len(dst); i++ {
		if isControl(dst[i]) {
			dst[i] = ' '
		}
	}
	return dst
}

// AppendBody appends content-length, the empty line and the body: the end of
// every message, with an empty body too.
func AppendBody(dst, body []byte) []byte {
	return append(AppendLength(dst, len(body)), body...)
}

// AppendLength is AppendBody for a body that is sent behind what is returned.
func AppendLength(dst []byte, length int) []byte {
	dst = append(dst, HeaderContentLength+": "...)
	dst = strconv.AppendInt(dst, int64(length), 10)
	return append(dst, "\r\n\r\n"...)
}

// Append appends the whole message by the rules of the Append functions. The
// version is always 1.1, and an empty reason becomes the usual one.
func (m *Message) Append(dst []byte) []byte {
	switch {
	case m.Status == 0:
		dst = AppendRequestLine(dst, m.Method, m.URL)
	case m.Reason == "" || m.Status < 100 || m.Status > 999:
		dst = AppendStatus(dst, m.Status)
	default:
		dst = appendReason(dst, m.Status, m.Reason)
	}
	for i := range m.Fields {
		dst = AppendField(dst, m.Fields[i].Name, m.Fields[i].Value)
	}
	return AppendBody(dst, m.Body)
}
