// Package postgres keeps what a broker stores in a PostgreSQL database, which may be several
// servers of which one takes over from another: it is a [storage.Store].
//
// # Writing
//
// One connection writes. A commit is one round trip: all of its statements are sent at once, and
// the server makes them one transaction. The first of them increments the number "seq" in the broker's
// own row if the row has the holder and the epoch that this connection has given it, and
// fails otherwise, which fails the whole transaction. So a broker that another one has replaced
// can no longer store anything, not even a commit that is already on its way.
//
// # After an error
//
// When a connection breaks during a commit, the outcome is unknown. So the store connects
// again, to whichever server accepts writes by then, and increments the epoch of its row. That waits
// for a transaction that is still under way, keeps out one that comes later, and says what seq is:
// the commit is stored if seq is its number, and if it is the one before, it is sent again. An
// answered commit is replicated as the server's settings say: a server that gave up waiting for a
// standby says so with a warning, which is handled as a broken connection. If seq is any other
// number, the database has lost commits that it had confirmed, and the store ends.
//
// # Reading
//
// Other connections read. They are made anew whenever the one that writes is, to a server that has its
// epoch: one that was left behind by a failover may still answer, and lacks what was stored since.
//
// # Lease
//
// The row of a broker has the time when it was last seen, by the clock of the database. Another
// broker that sees no change for a while takes the lease from it. A commit that was sent before may be
// stored, and the broker that has lost its lease reports the outcome as unknown, unless seq is unchanged.
package postgres
