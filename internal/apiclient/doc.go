// Package apiclient is the Go client of the HTTP API, generated from openapi.yaml.
// The command line uses it, and the tests of the contract see that it works.
package apiclient
