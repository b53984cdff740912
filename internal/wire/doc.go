// Package wire turns bytes into messages and messages into bytes. It knows no
// sockets, starts no goroutines and imports only the standard library.
//
// A frame looks like HTTP/1.1 and is what every zbus client speaks:
//
//	GET / HTTP/1.1 CRLF           request: METHOD SP URL SP HTTP/1.x
//	cmd: produce CRLF             header lines, split at the first colon
//	topic: orders CRLF
//	id: 7f1c CRLF
//	content-length: 5 CRLF        absent means no body
//	CRLF
//	hello                         exactly content-length bytes
//
//	HTTP/1.1 200 OK CRLF          response: the first token begins with HTTP
//	id: 7f1c CRLF
//	content-length: 13 CRLF
//	CRLF
//	1502960000000
//
// It differs from HTTP on purpose: no host header is needed, any method may
// have a body, a message that has a status may still be a request, and the start
// line may be damaged (clients that announce too short a body glue the rest of
// it to the next start line). Framing is stricter than HTTP asks for, since
// two readers that disagree about where a message ends are a way to smuggle one:
// lines end in CRLF, content-length is given once and not beside
// transfer-encoding, header lines are not folded, and header values hold no
// control characters.
//
// [Reader] decodes, the Append functions encode. They write names in lower case
// and always a content-length, and no text of a header can break the framing,
// wherever it came from.
package wire
