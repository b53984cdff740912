//go:build !noui

// Package webui is the admin console: a page that browsers get from the broker
// itself, whose calls all go through the API. What they get is dist, which npm run
// build makes of the sources next to it and which is committed, so that building the
// broker needs no Node.
package webui

import (
	"embed"
	"io/fs"
	"net/http"
)

//go:embed all:dist
var dist embed.FS

// Handler serves the console under /ui/. Any number of goroutines may use it.
func Handler() (http.Handler, error) {
	files, err := fs.Sub(dist, "dist")
	if err != nil {
		return nil, err
	}
	return newSite(files)
}
