// Package apiconv converts the broker's values into those of the HTTP API and back, for all that
// speak in these: the API itself and its WebSocket. A function is called like the type that it makes
// ([Message], [Delivery], [Server]); what a client has sent is read by one that begins with Parse
// ([ParseMessage], [ParsePosition], [ParseHandle]), whose errors are for the client.
package apiconv
