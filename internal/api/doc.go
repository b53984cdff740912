// Package api serves the HTTP API that openapi.yaml describes. The routes, the
// types of requests and responses and their decoding are generated from it
// (api.gen.go, by `make generate`), on the models of apimodel (models.gen.go); what is
// written by hand maps them to the broker's calls and back. Values that the WebSocket has too
// are converted by package apiconv.
//
// A request passes, in this order: the check of its Host and Origin, the route with
// its size limit, the generated decoding, one method of handler. Whatever goes
// wrong on the way is answered by package problem, from the broker's one vocabulary of
// errors.
package api
