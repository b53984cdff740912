package daemon

import (
	"context"
	"errors"
	"log/slog"

	"github.com/rushmore/zbus-go/internal/backup"
	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// engine is where a broker keeps what it stores: a data directory with a file of SQLite, or a
// database of PostgreSQL, with which it needs no directory.
type engine struct {
	storage.Store // nil before open
	cfg           config.Config
	dir           *datadir.Dir    // nil with PostgreSQL
	file          *sqlite.Store   // nil with PostgreSQL
	server        *postgres.Store // nil with SQLite
}

// newEngine takes the data directory, if there is to be one.
func newEngine(cfg config.Config) (*engine, error) {
	e := &engine{cfg: cfg}
	if cfg.Store != "" {
		return e, cfg.CheckStore()
	}
	var err error
	if e.dir, err = datadir.Open(cfg.Data); err != nil {
		return nil, err
	}
	return e, nil
}

// open opens the store. While another broker has the database, waiting is told which.
func (e *engine) open(ctx context.Context, address string, waiting func(postgres.Node), board *condition.Board, log *slog.Logger) (err error) {
	if e.dir == nil {
		e.server, err = postgres.Open(ctx, postgres.Options{
			URL: e.cfg.Store, Node: e.cfg.Node, Address: address, Waiting: waiting,
			Relaxed: e.cfg.Durability == config.Relaxed, Conditions: board, Log: log,
		})
		if err != nil {
			return err
		}
		e.Store = e.server
		return nil
	}
	if e.file, err = openStore(ctx, e.cfg, e.dir, board, log); err != nil {
		return err
	}
	e.Store = e.file
	if paths := e.dir.Tightened(); len(paths) > 0 {
		log.Warn("others had permissions for what is the broker's alone: they were taken away", "paths", paths)
	}
	return nil
}

// stop says that the broker stops, and no longer waits as patiently as while it serves.
func (e *engine) stop() {
	if e.server != nil {
		e.server.Stop()
	}
}

// durability is what a message that is stored now survives, in the words of the API.
func (e *engine) durability() string {
	switch {
	case e.server == nil || e.cfg.Durability == config.Relaxed:
		return string(e.cfg.Durability)
	case e.server.Replicated():
		return "replicated"
	}
	return "local"
}

// putBack leaves the directory as it was found, after an error.
func (e *engine) putBack() error {
	if e.dir == nil {
		return nil
	}
	return e.dir.PutBack()
}

// end closes the store after a run without an error.
func (e *engine) end() error {
	if err := e.Close(); err != nil || e.dir == nil {
		return err
	}
	return e.dir.MarkClean()
}

// leave gives the directory up.
func (e *engine) leave() error {
	if e.dir == nil {
		return nil
	}
	return e.dir.Close()
}

// space is how much room there is; nothing is known of that of a database's server.
func (e *engine) space() storage.Space {
	if e.file == nil {
		return storage.Space{}
	}
	return e.file.Space()
}

// size is what the database takes.
func (e *engine) size() int64 {
	if e.file == nil {
		return e.server.Size()
	}
	return databaseSize(e.cfg.Data)
}

// free is what the disk has left, negative when that is not known.
func (e *engine) free() int64 {
	if e.file == nil {
		return -1
	}
	return diskFree(e.cfg.Data)
}

func (e *engine) scrubbed() storage.Scrub {
	if e.file == nil {
		return storage.Scrub{}
	}
	return e.file.Scrubbed()
}

// scrub checks what is stored, again and again, until ctx ends.
func (e *engine) scrub(ctx context.Context) error {
	if e.file == nil {
		<-ctx.Done()
		return nil
	}
	return e.file.Scrub(ctx, e.cfg.ScrubEvery)
}

func (e *engine) image() (backup.Image, error) {
	if e.file == nil {
		return nil, &broker.Error{
			Code: broker.Unavailable, Err: errors.ErrUnsupported,
			Text: "this broker keeps its messages in PostgreSQL: back that up with its own tools, such as pg_basebackup",
		}
	}
	return e.file.Image()
}
