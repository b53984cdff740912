package crashtest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"time"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/rpc"
	"github.com/rushmore/zbus-go/internal/server"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// What a hasty store is hasty with.
const (
	hastyPublishes = "publishes"
	hastyAcks      = "acks"

	lateness = 8 // commits
)

// hasty is a store with the fault that this package exists to find: of some ops
// it says that they are stored, and stores them some commits later, so that a
// kill at almost any moment costs something.
type hasty struct {
	storage.Store
	kind string
	late int                       // commits since the last that stored what is owed
	owed []storage.Op              // answered, not stored; used by the writer alone
	next map[storage.TopicID]int64 // offsets given so far; used by the writer alone
}

// early takes an op on that is answered too early, and reports whether it is one.
func (h *hasty) early(op storage.Op) bool {
	switch op := op.(type) {
	case *storage.Append:
		if h.kind != hastyPublishes {
			return false
		}
		// The store will fill in its records; the broker reads these by then.
		h.owed = append(h.owed, &storage.Append{Topic: op.Topic, Records: slices.Clone(op.Records)})
		for i := range op.Records {
			r := &op.Records[i]
			r.Offset = h.next[op.Topic]
			r.CRC = storage.Checksum(op.Topic, r)
			h.next[op.Topic]++
		}
		return true
	case *storage.SaveProgress:
		if h.kind == hastyAcks {
			h.owed = append(h.owed, op)
			return true
		}
	}
	return false
}

// Commit stores, now and then, what is owed, and of ops those that can't be put off.
func (h *hasty) Commit(ops []storage.Op) ([]error, error) {
	if h.late++; h.late >= lateness {
		h.late = 0
		if _, err := h.Store.Commit(h.owed); err != nil {
			return nil, err
		}
		h.owed = nil
	}
	errs := make([]error, len(ops))
	var now []storage.Op
	var where []int
	for i, op := range ops {
		if !h.early(op) {
			now, where = append(now, op), append(where, i)
		}
	}
	if len(now) == 0 {
		return errs, nil
	}
	done, err := h.Store.Commit(now)
	if err != nil {
		return nil, err
	}
	for i, err := range done {
		errs[where[i]] = err
	}
	return errs, h.look()
}

// look finds out where topics that it has not seen yet end.
func (h *hasty) look() error {
	state, err := h.Load(context.Background())
	for _, t := range state.Topics {
		if _, ok := h.next[t.ID]; !ok {
			h.next[t.ID] = t.Next
		}
	}
	return err
}

// runHasty is a broker on such a store. It returns when something goes wrong.
func runHasty(kind, dir string) error {
	ctx := context.Background()
	store, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(dir, "zbus.db")})
	if err != nil {
		return err
	}
	h := &hasty{Store: store, kind: kind, next: map[storage.TopicID]int64{}}
	if err := h.look(); err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	writer := storage.NewWriter(h, storage.WriterLimits{})
	b, err := broker.Open(ctx, broker.Options{}, broker.Storage{Reader: h, Committer: writer})
	if err != nil {
		return err
	}
	failed := make(chan error)
	go func() { failed <- b.Run(ctx) }()
	srv := server.New(server.Options{Broker: b, Calls: rpc.New(rpc.Options{}), Address: ln.Addr().String()})
	go func() { failed <- srv.Serve(ctx, []net.Listener{ln}, time.Second) }()
	fmt.Printf("listening http://%s\n", ln.Addr())
	select {
	case err := <-failed:
		return err
	case <-b.Done():
		return b.Err()
	}
}
