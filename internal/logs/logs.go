// Package logs passes log lines on without ever making those wait who log. What can't be
// written, because a reader does not read or a disk is full, is lost and counted, and
// nothing else happens.
package logs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/DeRuina/timberjack"
)

const (
	queueLines = 4096        // that wait to be written
	closeTime  = time.Second // for those, when the writer is closed
)

// Writer is an [io.Writer] that takes a line at a time and never blocks nor fails. Any
// number of goroutines may use it.
type Writer struct {
	dest  io.Writer // owned by run
	lines chan []byte
	lost  atomic.Int64 // lines, since the last one that was written
	quit  chan struct{}
	once  sync.Once
	done  chan struct{} // closed when run has ended

	failed    func(error)
	recovered func(lost int64)

	// Owned by run.
	torn bool // the last line was written in part
	down bool // the last write failed
}

// Open makes a logger whose handler writes to dest until the Writer is closed. failed is
// called when a write fails and the one before did not. When writing works again, the
// log says how many lines were lost.
func Open(dest io.Writer, handler func(io.Writer) slog.Handler, failed func(error)) (*slog.Logger, *Writer) {
	w := &Writer{
		dest: dest, failed: failed, lines: make(chan []byte, queueLines),
		quit: make(chan struct{}), done: make(chan struct{}),
	}
	log := slog.New(handler(w))
	w.recovered = func(lost int64) { log.Warn("log lines were lost", "lines", lost) }
	go w.run()
	return log, w
}

// Write takes a line.
func (w *Writer) Write(line []byte) (int, error) {
	select {
	case w.lines <- bytes.Clone(line):
	default:
		w.lost.Add(1)
	}
	return len(line), nil
}

// Lost is how many lines were lost since the last one that was written.
func (w *Writer) Lost() int64 { return w.lost.Load() }

// Close writes the lines that wait and reports whether that is done: it gives up after a
// second. What is logged after that is lost.
func (w *Writer) Close() bool {
	w.once.Do(func() { close(w.quit) })
	select {
	case <-w.done:
		return true
	case <-time.After(closeTime):
		return false
	}
}

func (w *Writer) run() {
	defer close(w.done)
	for {
		select {
		case line := <-w.lines:
			w.put(line)
		case <-w.quit:
			for {
				select {
				case line := <-w.lines:
					w.put(line)
				default:
					return
				}
			}
		}
	}
}

// put writes one line, or loses it.
func (w *Writer) put(line []byte) {
	if w.torn { // the rest of the last one is not coming
		line = append([]byte("\n"), line...)
	}
	n, err := w.dest.Write(line)
	if err == nil {
		w.torn, w.down = false, false
		if lost := w.lost.Swap(0); lost > 0 {
			w.recovered(lost)
		}
		return
	}
	w.torn = w.torn && n == 0 || n > 0
	w.lost.Add(1)
	if !w.down {
		w.failed(err)
	}
	w.down = true
}

// FileName is the name of the current log file in a directory of logs.
const FileName = "zbus.log"

// File writes to the log file of a directory. One that has grown to size bytes, in whole
// MiB, is given another name, and the newest keep of those stay.
func File(dir string, size int64, keep int) (io.WriteCloser, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, FileName)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("close %s: %w", path, err)
	}
	return &timberjack.Logger{Filename: path, MaxSize: int(size >> 20), MaxBackups: keep, FileMode: 0o600}, nil
}
