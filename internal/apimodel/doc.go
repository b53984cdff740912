// Package apimodel has the values that the HTTP API takes and answers with, generated from
// openapi.yaml, for its clients: the command line.
package apimodel
