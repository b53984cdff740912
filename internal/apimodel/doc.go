// Package apimodel has the values that the HTTP API takes and answers with, generated from
// openapi.yaml, for the server and for the command line.
package apimodel

// Base is the path below which the API is.
const Base = "/api/v1"
