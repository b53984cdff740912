// Package sso has people and programs sign on with an issuer of OpenID Connect, instead of with
// passwords and tokens of this broker.
//
//	program ── token ──► Check ──────────────────────────► Assertion: account, roles, expiry
//	browser ── Begin ──► the issuer's page ── Finish ───► Assertion: account, roles
//
// # Who owns what
//
// [Issuer.Run] alone asks the issuer for its description and its keys: when it starts, every ten
// minutes, and when a token names a key that is not known, but then not more often than every ten
// seconds. What it has learned is immutable and behind an atomic pointer. Without an issuer that answers, the
// broker works on; keys that are known stay good.
//
// Sign-ons of browsers that are under way are in memory, for ten minutes, and are used up by the first
// that comes back with one.
//
// All that the issuer answers is limited in size and time, and it may not redirect.
package sso
