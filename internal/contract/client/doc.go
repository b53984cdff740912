// Package client is the API's client as anybody could generate it from
// openapi.yaml: the tests of internal/contract see that it works. The product has no
// use for it.
package client
