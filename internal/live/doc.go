// Package live is the WebSocket of the API: JSON frames, one object each, that
// asyncapi.yaml describes. A client publishes and consumes over it, calls and serves
// services, and watches figures.
//
// A [Hub] holds the sockets. Each has two goroutines. The reader takes one frame
// after the other, does what it says and queues the answer; what waits for the disk
// (publish, ack, nack) is answered from the commit's callback. The writer alone
// sends. It takes answers and deliveries in their order; a delivery is reported to
// the broker when it is written, and goes back to its group when it can't be.
//
// What a socket holds is bounded. Answers: a client that does not take them is not
// read from. Deliveries: by credit, and by the broker's limits of bytes. Frames: one
// at a time, of at most [Options.ReadLimit] bytes; the next one is read when what the
// last one published is on disk, small ones aside. Figures: the newest of each watch;
// a viewer who does not keep up misses those in between. Tails: the newest messages,
// with the number of those that were missed.
//
// Figures are made by one goroutine, in [Hub.Run], after each sample of the rates.
// It makes the figures of each channel that is watched once and gives the same bytes
// to all viewers; if they are what they were, viewers get a beat, which is the same
// bytes for all, too. Another goroutine looks ten times a second at the ends of the
// logs that a client tails, and a third one pings clients that say nothing.
//
// Locks are taken in the order Hub.mu, socket.mu, queue.mu and held for operations
// in memory only; no more of the broker is asked then than where a log ends.
package live
