// Package zbus is the Go client of zbus, a message queue and RPC broker in one
// binary on one port, with its messages in SQLite.
//
// # Connecting
//
// [Dial] connects to a server, or to several. A [Client] has one connection to each, that any number of
// goroutines share; when it is lost it is made again, with its subscriptions, and what
// was waiting to be sent is sent then. Close it, or shut it down gracefully with
// [Client.Drain].
//
//	client, err := zbus.Dial(ctx, "127.0.0.1:15555", zbus.Options{})
//	if err != nil {
//		return err
//	}
//	defer client.Close()
//
// [Options] have the token, TLS, and how patient the client is; a zero is a default.
// Where a server wants to know who asks, a wrong token is [ErrUnauthorized] and a missing
// grant [ErrForbidden].
//
// With the addresses of several servers, "a:15555;b:15555", the same methods are for all of them, and for
// those that they tell of: a publish or a call goes to one server that has the topic, and to the next when
// it is certain that the first has not done it; subscriptions, Fetch and services are at all servers. [Client.Server]
// leads to a single one. [DialServer] uses one of its addresses at a time.
//
// # Topics and groups
//
// A topic is a log of messages. A consume group is a cursor into it: consumers of one
// group share its messages, each group has all of them. [Client.DeclareTopic] and
// [Client.DeclareGroup] make sure that they are there, with a filter, a start, acks;
// [Client.Relocate] moves a group while its consumers are connected.
//
// # Publishing
//
// [Client.Publish] returns a [Receipt] when the message is stored. [Client.PublishBatch]
// sends many at once, and [Client.PublishAsync] returns a [Future]. Everything
// has exactly one outcome. An error says that the message is not stored, but for one:
// [ErrUnknownOutcome] means that the connection was lost, or ctx ended, between sending
// the message and its answer. A message with an ID can be published again then, since it is
// stored once; with [Options].Retry the client does that by itself, for all messages.
//
// # Consuming
//
// [Client.Subscribe] calls a function for each message, [Client.Messages] is a loop
// over them, and [Client.Fetch] takes some at a time. The first two take a window of
// messages in advance, and never more: a consumer that is slow is not sent what it can't
// handle. What a message's end is depends on the group:
//
//   - In an explicit group ([GroupSpec].Explicit) a message is done when it was acked.
//     A handler's nil acks it, an error gives it back for another attempt; its text is the
//     cause on the dead letter, should it be the last one. [Dead] and [RetryAfter] say what
//     else is to become of the message. While a handler
//     runs, its message's ack timeout is extended; its context ends when the delivery is
//     no longer its own. What was not acked when a connection is lost comes again, so a
//     message may be handled more often than once.
//   - In the others it is done when it has left the server, so it is handled once at
//     most.
//
// # Calls
//
// A topic of kind RPC carries calls. A [Service] answers them, with methods that
// [Handle] makes of functions; [Client.Call] makes them. [Client.Request] is the same
// with bodies of any kind, and [Service.HandleRequests] its counterpart. A call is never
// run twice by the client or the server. A Service tells the server what methods it has
// and of which types, for people to see. Clients of zbus in other languages, and URLs,
// can call a Service and be called.
//
// # Middleware
//
// [Options].Middleware is around all that a client publishes, handles, calls and serves. Package
// otelzbus, a module of its own, has one that makes traces and metrics for OpenTelemetry.
//
// # Errors
//
// The errors of this package ([ErrNotFound], [ErrUnavailable], …) work with errors.Is,
// their sender. Most are an [*Error] with the status and the words of the
// server; what a service answers in place of a result is a [*CallError]. The end of a context is context.Canceled or context.DeadlineExceeded as well.
//
// # Other servers
//
// The client speaks the protocol of the original zbus 0.8 and 0.9 and works with their
// servers as far as they go: they do not know acks, offsets, or moving a group, and
// answer what they do not know with [ErrInvalid].
package zbus
