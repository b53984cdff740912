// Package access decides who may do what. It has accounts, their tokens and roles, and the
// principals that connections and requests act as.
//
//	credential ──Authenticate──► Principal ──Allows(verb, topic, group)──► yes or no
//	                                 ▲
//	   Registry: accounts, roles, tokens; each change raises the epoch
//
// # Who owns what
//
// What is stored is a list of documents ([storage.Document]): the registry is their only
// reader and writer. In memory it is an immutable picture behind an atomic pointer, replaced
// after each commit. Registry.changing lets one change happen at a time, over its commit.
// Principals keep what they worked out of a picture together with its epoch, and work it
// out anew when that is over: so a change holds for every connection with the next thing
// that it asks. What was begun before and still runs (subscriptions, streams) is ended by
// those who run it: see [Registry.Watch].
//
// Secrets are kept as hashes: those of tokens and logins, which are random, as SHA-256;
// passwords as argon2id.
package access
