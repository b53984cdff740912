package wire

import "strings"

// Inert is the head of what leaves over HTTP and was written by a client: no browser runs
// it, guesses what it is, or counts it to this server's pages.
const Inert = "x-content-type-options: nosniff\r\ncontent-security-policy: sandbox; default-src 'none'\r\n"

// HeaderEnvelope begins the names of stored headers that leave over HTTP under another
// name: see Outward.
const HeaderEnvelope = "zbus-header-"

// Outward reports whether a stored header leaves over HTTP under its own name: whether it
// is one of zbus's, or has an underscore in it, as no header has that HTTP, a browser or a
// proxy acts upon. Over the native protocol all do.
func Outward(name string) bool {
	switch name {
	case HeaderTopic, HeaderEncoding, HeaderModule, HeaderRecver, HeaderSender:
		return true
	}
	return strings.Contains(name, "_")
}

// SafeType reports whether a browser that shows a body of this media type runs nothing of
// it. Parameters do not count.
func SafeType(mediaType string) bool {
	essence, _, _ := strings.Cut(mediaType, ";")
	switch strings.ToLower(strings.TrimSpace(essence)) {
	case "text/plain", "text/csv", "application/json", "application/x-ndjson", "application/octet-stream", "application/x-www-form-urlencoded",
		"image/png", "image/jpeg", "image/gif", "image/webp":
		return true
	}
	return false
}
