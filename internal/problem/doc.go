// Package problem turns errors into the problem documents (RFC 9457) that every HTTP request is
// refused with: by the API, by its WebSocket and by the gateway. It has the one table from the
// broker's vocabulary of errors to codes and statuses of HTTP.
package problem
