//go:build noui

// Package webui is the admin console, left out of this build.
package webui

import "net/http"

// Handler answers that there is no console.
func Handler() (http.Handler, error) {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "this build of zbus has no console", http.StatusNotFound)
	}), nil
}
