package zbus

import _ "embed" // for the contracts

//go:embed openapi.yaml
var openAPI string

// OpenAPI is the contract of the HTTP API, as YAML.
func OpenAPI() string { return openAPI }

//go:embed asyncapi.yaml
var asyncAPI string

// AsyncAPI is the contract of the API's WebSocket, as YAML.
func AsyncAPI() string { return asyncAPI }
