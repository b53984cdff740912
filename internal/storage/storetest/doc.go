// Package storetest says what a [storage.Store] must do, as tests: [Run] is the
// contract, [Compare] drives a store and the reference store [Memory] with the
// same random changes. Every store passes both.
package storetest
