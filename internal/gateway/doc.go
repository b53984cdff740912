// Package gateway is the public end of a proxy: HTTP requests to /proxy/<topic>/… go
// as calls to the process that connected out to this broker for that topic (package proxy), and
// what the server behind it answers comes back.
//
// A request and its answer are each one HTTP/1.1 message, as bytes, in the body of a
// call and of its answer ([MessageType]); both ends are thus free of how the other one
// is written. Bodies are held in memory, up to the limit for the body of a message,
// their head included.
//
// # Pages
//
// What comes back has the origin of this server as far as browsers can tell, and the
// console and the API have the same. So every answer is put into a sandbox: its scripts
// run, but as an origin of their own, which the API does not know. Cookies are kept to
// the path of the topic.
package gateway
