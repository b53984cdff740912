package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// disk takes what room there is.
type disk struct {
	mu   sync.Mutex
	room int
	text strings.Builder
}

func (d *disk) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := min(len(p), d.room)
	d.room -= n
	d.text.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no space left")
	}
	return n, nil
}

// plain writes the message of each record, and what was lost.
type plain struct {
	slog.Handler
	w io.Writer
}

func (p plain) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool { r.Message += " " + a.Value.String(); return true })
	_, err := io.WriteString(p.w, r.Message+"\n")
	return err
}

func newPlain(w io.Writer) slog.Handler { return plain{slog.NewTextHandler(w, nil), w} }

func TestLinesThatDoNotFitAreLostAndOthersStayWhole(t *testing.T) {
	d := &disk{room: 10}
	failures := make(chan error, 10)
	log, w := Open(d, newPlain, func(err error) { failures <- err })
	log.Info("first")
	log.Info("second")
	log.Info("third")
	if err := <-failures; err == nil {
		t.Error("a failure without an error")
	}
	for w.Lost() < 2 { // until the third is lost, too
		runtime.Gosched()
	}
	d.mu.Lock()
	d.room = 100
	d.mu.Unlock()
	log.Info("fourth")
	for w.Lost() > 0 {
	}
	if !w.Close() {
		t.Fatal("not closed")
	}
	if got, want := d.text.String(), "first\nseco\nfourth\nlog lines were lost 2\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
	if len(failures) != 0 {
		t.Errorf("%d more failures were told", len(failures))
	}
}

func TestAReaderThatDoesNotReadHoldsNothingUp(t *testing.T) {
	r, dest := io.Pipe()
	log, w := Open(dest, newPlain, func(error) {})
	for range 3 * queueLines {
		log.Info("line")
	}
	if w.Lost() < queueLines {
		t.Errorf("%d lines are lost", w.Lost())
	}
	if w.Close() {
		t.Error("closed with lines that wait")
	}
	_ = r.Close()
	<-w.done
}

func TestFilesAreRotatedAndTheOldestGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "logs")
	f, err := File(dir, 1<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	line := strings.Repeat("x", 1<<16-1) + "\n"
	for i := range 100 {
		if _, err := f.Write([]byte(fmt.Sprintf("%05d", i) + line[5:])); err != nil {
			t.Fatal(err)
		}
		// Files of one millisecond have one time in their names, and count as one.
		for written := time.Now().UnixMilli(); time.Now().UnixMilli() == written; {
			runtime.Gosched()
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 3 {
		t.Errorf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Size() > 1<<20 || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", f.Name(), info, err)
		}
	}
}
