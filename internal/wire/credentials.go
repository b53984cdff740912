package wire

import (
	"net/url"
	"strings"
)

// redacted stands for a secret in a URL.
const redacted = "redacted"

// WithoutCredentials is a URL without what might be a secret: what stands before the @ of
// its host, and the values of parameters whose names say that they are secret, in the query,
// the fragment, or behind a semicolon. All else stays as it came.
func WithoutCredentials(raw string) string {
	if !strings.ContainsAny(raw, "@=") {
		return raw
	}
	raw = withoutUserinfo(raw)
	if !strings.Contains(raw, "=") {
		return raw
	}
	var b strings.Builder
	for rest := raw; rest != ""; {
		end := strings.IndexAny(rest, "?&;#") + 1
		if end == 0 {
			end = len(rest)
		}
		piece := rest[:end]
		rest = rest[end:]
		name, value, pair := strings.Cut(strings.TrimRight(piece, "?&;#"), "=")
		if pair && value != "" && Credential(name) {
			b.WriteString(name + "=" + redacted + piece[len(name)+1+len(value):])
		} else {
			b.WriteString(piece)
		}
	}
	return b.String()
}

// withoutUserinfo leaves out user and password of a URL in its absolute form.
func withoutUserinfo(raw string) string {
	start := 0
	if i := strings.Index(raw, "//"); i >= 0 && !strings.ContainsAny(raw[:i], "/?#") {
		start = i + 2
	} else if strings.HasPrefix(raw, "/") {
		return raw
	}
	end := len(raw)
	if i := strings.IndexAny(raw[start:], "/?#"); i >= 0 {
		end = start + i
	}
	if at := strings.LastIndexByte(raw[start:end], '@'); at >= 0 {
		return raw[:start] + raw[start+at+1:]
	}
	return raw
}

// Credential reports whether a parameter of a URL is one that proves who asks, as far as
// its name, percent-encoded or not, tells.
func Credential(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = name[strings.LastIndexByte(name, '/')+1:] // of a path, where it begins there
	name = strings.ToLower(strings.NewReplacer("-", "", "_", "", ".", "", "[", "", "]", "", " ", "").Replace(name))
	switch name {
	case "pw", "pwd", "auth", "sig", "sid", "jwt", "otp", "session", "sessionid", "accesskey":
		return true
	}
	for _, part := range [...]string{"token", "authoriz", "oauth", "authkey", "passw", "passphrase", "secret", "apikey", "signature", "credential", "cookie", "sessionid", "bearer", "privatekey"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
