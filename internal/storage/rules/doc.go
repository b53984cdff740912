// Package rules says which ops a store allows. It is what the engines have in common: a catalog of
// topics and groups in memory, by which each op is checked, and the changes of the catalog that an op
// makes. What an op means for an engine's tables is the engine's own: see [Tables].
//
// R is a pointer to an engine's row of messages that are not in blocks yet. All such types share one
// compiled copy of the package.
package rules
