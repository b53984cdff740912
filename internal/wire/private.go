package wire

import "strings"

// Private reports whether a header of a request belongs to that request or its
// connection alone, or is a secret: it is neither stored with a message nor passed
// on to others.
func Private(name string) bool {
	switch name {
	case // the request itself, and columns of their own
		HeaderCmd, HeaderTopic, HeaderID, HeaderTag, HeaderAck, HeaderToken,
		HeaderSender, HeaderRecver, HeaderHost, HeaderRemoteAddr,
		HeaderConsumeGroup, HeaderBody, HeaderDedup, HeaderMessageID, HeaderReceipt,
		// what a delivery adds; clients send a received message's headers again
		HeaderOriginID, HeaderOriginURL, HeaderOriginStatus, HeaderOriginMethod,
		HeaderOffset, HeaderTimestamp, HeaderDeliveryCount, HeaderHandle,
		HeaderWindow, HeaderConsumeWindow, HeaderTimeout, HeaderRPCMethod, HeaderHop, HeaderServedBy,
		// the connection, and who asks
		HeaderContentLength, HeaderTransferEncoding, HeaderConnection, "keep-alive", "proxy-connection", "te", "trailer", HeaderUpgrade, HeaderExpect,
		"user-agent", "accept", "accept-encoding", "accept-language", "accept-charset", "referer", "origin",
		"cache-control", "pragma", "dnt", "priority", "forwarded", "via", "x-real-ip", "true-client-ip",
		// secrets, and what would steer somebody else's browser or proxy
		"authorization", "authentication-info", "x-api-key", "api-key", "x-auth-token", "x-access-token", "x-csrf-token", "x-xsrf-token", "x-amz-security-token", "cookie", "set-cookie", "set-cookie2", "location", "refresh", "clear-site-data",
		"content-security-policy", "strict-transport-security", "x-content-type-options", "x-frame-options",
		"x-sendfile", "alt-svc", "service-worker-allowed", "www-authenticate", "link":
		return true
	}
	return strings.HasPrefix(name, "proxy-") || strings.HasPrefix(name, "sec-") || strings.HasPrefix(name, "x-forwarded-") ||
		strings.HasPrefix(name, "access-control-") || strings.HasPrefix(name, "x-accel-") || strings.HasPrefix(name, "cross-origin-")
}
