package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/user"
	"strconv"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/api"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Administer opens the accounts, roles and tokens in the data directory of a broker that is
// stopped, and keeps brokers out until stop. The handler is the API, of which it has what
// concerns these: a user who may open the directory may do everything. With create a directory
// without a database gets one; otherwise that is [fs.ErrNotExist].
func Administer(ctx context.Context, data string, create bool, log *slog.Logger) (h http.Handler, stop func() error, err error) {
	if err := mayAdminister(data, create); err != nil {
		return nil, nil, err
	}
	dir, err := datadir.Open(data)
	if err != nil {
		return nil, nil, err
	}
	cfg := config.Default()
	cfg.Data = data
	store, err := openStore(ctx, cfg, dir, condition.New(log), log)
	if err != nil {
		return nil, nil, errors.Join(err, dir.PutBack(), dir.Close())
	}
	stop = func() error {
		err := store.Close()
		if err == nil {
			err = dir.MarkClean()
		}
		return errors.Join(err, dir.Close())
	}
	state, err := store.Load(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	registry, err := access.New(access.Options{Mode: access.Off, Documents: state.Documents, Save: saveTo(store), Log: log})
	if err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	owner := access.Caller{Principal: registry.Anonymous(), Address: access.Owner().Name}
	serve := api.New(api.Options{Access: registry, Log: log})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		serve.ServeHTTP(w, req.WithContext(access.With(req.Context(), owner)))
	}), stop, nil
}

// saveTo stores the changes of a registry without a broker.
func saveTo(store storage.Store) func(context.Context, ...storage.Op) error {
	return func(_ context.Context, ops ...storage.Op) error {
		errs, err := store.Commit([]storage.Op{&storage.Atomic{Ops: ops}})
		if err != nil {
			return err
		}
		err = errors.Join(errs...)
		if y, ok := store.(storage.Syncer); ok {
			err = errors.Join(err, y.Sync())
		}
		return err
	}
}

// mayAdminister refuses a directory without a database, and one of another user: the files
// that are written would be lost to the broker.
func mayAdminister(data string, create bool) error {
	_, err := os.Stat(Database(data))
	if err != nil && (!create || !errors.Is(err, fs.ErrNotExist)) {
		return err
	}
	info, err := os.Stat(data)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	uid, known := ownerOf(info)
	if !known || uid == os.Geteuid() {
		return nil
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	return fmt.Errorf("data directory: %s belongs to %s: run the command as that user, as with sudo -u %s: %w", data, name, name, fs.ErrPermission)
}
