// Package apimodel has the values that the HTTP API takes and answers with, generated from
// openapi.yaml, for the server and for the command line.
package apimodel
