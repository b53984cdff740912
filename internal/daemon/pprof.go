package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"

	"github.com/rushmore/zbus-go/internal/origin"
	"github.com/rushmore/zbus-go/internal/server"
)

// profilePath is where Go's tools look for profiles. The handlers of net/http/pprof would add
// 150 KB to the binary, most of it for profiles of differences.
const profilePath = "/debug/pprof/"

// longestProfile is how many seconds may be recorded.
const longestProfile = 600

// serveProfiles serves profiles on a loopback address until ctx ends. With no
// address it only waits.
func serveProfiles(ctx context.Context, address string) error {
	if address == "" {
		<-ctx.Done()
		return nil
	}
	mux := http.NewServeMux()
	mux.HandleFunc(profilePath, listProfiles)
	mux.HandleFunc(profilePath+"{name}", snapshot)
	mux.HandleFunc(profilePath+"profile", record(pprof.StartCPUProfile, pprof.StopCPUProfile))
	mux.HandleFunc(profilePath+"trace", record(trace.Start, trace.Stop))
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("pprof: %w", err)
	}
	srv := &http.Server{Handler: server.OnlyHosts(origin.Site{Hosts: []string{}}, mux), ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("pprof: %w", err)
	}
	return nil
}

func listProfiles(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = io.WriteString(w, "profile?seconds=30\ntrace?seconds=1\n")
	for _, p := range pprof.Profiles() {
		_, _ = fmt.Fprintf(w, "%s?debug=1 (%d)\n", p.Name(), p.Count())
	}
}

// snapshot writes a profile as of now: with debug=1 as text, with gc=1 after a collection.
func snapshot(w http.ResponseWriter, req *http.Request) {
	p := pprof.Lookup(req.PathValue("name"))
	if p == nil {
		http.Error(w, "there is no such profile", http.StatusNotFound)
		return
	}
	if req.FormValue("gc") == "1" {
		runtime.GC()
	}
	debug, _ := strconv.Atoi(req.FormValue("debug"))
	w.Header().Set("Content-Type", contentType(debug > 0))
	_ = p.WriteTo(w, debug)
}

// record writes what is recorded in the time that the request names.
func record(begin func(io.Writer) error, end func()) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		seconds := 30
		if text := req.FormValue("seconds"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || n < 1 || n > longestProfile {
				http.Error(w, fmt.Sprintf("seconds: must be from 1 to %d", longestProfile), http.StatusBadRequest)
				return
			}
			seconds = n
		}
		w.Header().Set("Content-Type", contentType(false))
		if err := begin(w); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		defer end()
		select {
		case <-time.After(time.Duration(seconds) * time.Second):
		case <-req.Context().Done():
		}
	}
}

func contentType(text bool) string {
	if text {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}
