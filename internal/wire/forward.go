package wire

import "strings"

// What both ends of a proxy let through. Each checks it, since the other may be another
// program, or an older one.

// mostDecodings is how often a path may be encoded.
const mostDecodings = 4

// StaysBelow reports whether a path stays below the place that it is put behind, whatever
// the server there takes it for: some decode twice, take \ for /, or leave out what follows
// a semicolon. The path is as it was sent, and begins with a slash.
func StaysBelow(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for range mostDecodings {
		for part := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
			name, _, _ := strings.Cut(part, ";")
			if name = strings.TrimRight(name, " "); name == "." || name == ".." {
				return false
			}
		}
		if strings.IndexByte(path, 0) >= 0 {
			return false
		}
		plain := decodeOnce(path)
		if plain == path {
			return true
		}
		path = plain
	}
	return false
}

// decodeOnce replaces every percent-encoded byte. What is none stays as it is.
func decodeOnce(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, ok := hexDigit(s[i+1])
			low, also := hexDigit(s[i+2])
			if ok && also {
				out = append(out, high<<4|low)
				i += 2
				continue
			}
		}
		out = append(out, s[i])
	}
	return string(out)
}

// StripForward takes out of a request what neither end of a proxy lets through: what only
// proxies may say of who asks, and what proves to the broker who a client is. Names are as
// net/http writes them.
func StripForward(header map[string][]string) {
	for name := range header {
		if saysWhoAsks(name) {
			delete(header, name)
		}
	}
	for _, value := range header["Authorization"] {
		if brokersCredentials(value) {
			delete(header, "Authorization")
			break
		}
	}
	var cookies []string
	for _, line := range header["Cookie"] {
		for cookie := range strings.SplitSeq(line, ";") {
			cookie = strings.TrimSpace(cookie)
			if name, _, _ := strings.Cut(cookie, "="); cookie != "" && !brokersCookie(strings.TrimSpace(name)) {
				cookies = append(cookies, cookie)
			}
		}
	}
	delete(header, "Cookie")
	if cookies != nil {
		header["Cookie"] = []string{strings.Join(cookies, "; ")}
	}
}

// saysWhoAsks reports whether servers take a header for what a proxy before them says of
// the client, so that no client may send it. Many servers know a header also with
// underscores in its name.
func saysWhoAsks(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	switch name {
	case "forwarded", "x-real-ip", "x-client-ip", "client-ip", "true-client-ip", "x-cluster-client-ip", "cf-connecting-ip", "fastly-client-ip",
		"x-original-forwarded-for", "x-original-url", "x-original-host", "x-rewrite-url", "x-host", "x-remote-addr", "x-remote-ip", "x-remote-user",
		"remote-addr", "remote-user", "x-envoy-external-address":
		return true
	}
	return strings.HasPrefix(name, "x-forwarded-")
}

// brokersCredentials reports whether a value of the header authorization is for a broker,
// whose clients prove by a token who they are.
func brokersCredentials(value string) bool {
	scheme, _, _ := strings.Cut(strings.TrimLeft(value, " \t"), " ")
	return strings.EqualFold(scheme, "bearer")
}

// brokersCookie reports whether a cookie is a broker's own.
func brokersCookie(name string) bool {
	name = strings.TrimPrefix(strings.TrimPrefix(strings.ToLower(name), "__host-"), "__secure-")
	return name == HeaderToken || strings.HasPrefix(name, "zbus")
}
