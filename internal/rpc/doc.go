// Package rpc knows which calls are under way: who called, which topic, which
// provider got the call, and until when it has to be answered. It makes sure that
// every call has exactly one outcome, that only the provider that got a call can
// answer it, and that the figures of every service and method are there for people
// to look at.
//
// It knows neither sockets nor queues. Calls wait in a topic like other messages
// (package broker) and travel through sessions (package server); both tell a
// [Table] what happens, and the table tells the [Sink] of a caller what it can't
// learn otherwise.
//
// # The life of a call
//
//	Begin → waiting → Take → given → Answer
//
// A caller begins it: a session (server/produce.go) or a request over HTTP (package caller). It
// waits in its topic (broker/calls.go). A provider's session takes it and answers it
// (server/calls.go; live/serve.go over the API's WebSocket).
//
// A call leaves this path once, by the first of these: it is answered; no provider takes
// it ([Unavailable]); time runs out ([TimedOut]); the provider that got it goes away
// ([ProviderGone]); its caller goes away ([Abandoned]). What comes later finds no
// call and is counted.
//
// # Ownership
//
// One mutex guards all that changes, for a few dozen instructions at a time; it is
// held over no callback. Only whether a call still waits can be read without it,
// which the broker does while it looks for the next message. Calls are links of
// lists (of their service or provider, of their caller, of a wheel of deadlines), so
// nothing is searched, and one goroutine, [Table.Run], waits for all deadlines.
package rpc
