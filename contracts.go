// Package contracts has the documents that describe the broker's APIs to other programs.
// Its directory is the root of the tree, where their readers look for them; the Go client
// is package zbus, in zbus/.
package contracts

import _ "embed" // for the documents

//go:embed openapi.yaml
var openAPI string

// OpenAPI is the contract of the HTTP API, as YAML.
func OpenAPI() string { return openAPI }

//go:embed asyncapi.yaml
var asyncAPI string

// AsyncAPI is the contract of the API's WebSocket, as YAML.
func AsyncAPI() string { return asyncAPI }
