package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/zbus"
)

// Offline opens the accounts, roles and tokens in the data directory of a stopped broker.
// The handler is the part of the HTTP API that concerns them. With create a directory
// without a database gets one; else that is fs.ErrNotExist.
type Offline func(ctx context.Context, data string, create bool) (h http.Handler, stop func() error, err error)

// directory is where the commands go that can do without a broker.
type directory struct {
	data   string // "": to a running broker
	create bool
	open   Offline
}

// administers gives a command, and those below it, the flags that say whose accounts.
func (a *app) administers(cmd *cobra.Command) *cobra.Command {
	a.connected(a.shows(cmd))
	cmd.PersistentFlags().StringVar(&a.directory.data, "data", "", "of this `DIR`ectory, which no broker uses, instead of a running broker")
	return cmd
}

// administer returns a function of the kind that cobra wants of one that asks the API, which
// is that of a running broker, or with --data served from the directory within this process.
//
//go:noinline
func (a *app) administer(f func(ctx context.Context, i *invocation, c *api) error) func(*cobra.Command, []string) error {
	return a.run(func(ctx context.Context, i *invocation) (err error) {
		if a.directory.data == "" {
			c, err := i.api()
			if err != nil {
				return err
			}
			return f(ctx, i, c)
		}
		h, stop, err := a.directory.open(ctx, a.directory.data, a.directory.create)
		if err != nil {
			return notOpened(a.directory.data, err)
		}
		err = f(ctx, i, &api{web: &http.Client{Transport: within{h}}, server: &Server{API: "http://localhost/api/v1", Host: a.directory.data}})
		if stopped := stop(); err == nil {
			err = stopped
		}
		return err
	})
}

// notOpened says what to do about a directory that can't be opened.
func notOpened(data string, err error) error {
	switch {
	case errors.Is(err, datadir.ErrInUse):
		return fail(zbus.ErrConflict, "%v; leave out --data to have that broker do it, or stop it first", err)
	case errors.Is(err, fs.ErrNotExist):
		return fail(ErrNoInput, "no broker has used the directory %s: it has no database", data)
	}
	return err
}

// within is the transport to a handler in the same process.
type within struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (w within) RoundTrip(req *http.Request) (*http.Response, error) {
	a := &answerWriter{header: http.Header{}, status: http.StatusOK}
	w.handler.ServeHTTP(a, req)
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Header: a.header,
		Body: io.NopCloser(&a.body), ContentLength: int64(a.body.Len()), Request: req,
	}, nil
}

// answerWriter keeps what a handler answers.
type answerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answerWriter) Header() http.Header         { return a.header }
func (a *answerWriter) WriteHeader(status int)      { a.status = status }
func (a *answerWriter) Write(p []byte) (int, error) { return a.body.Write(p) }
