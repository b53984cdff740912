package crashtest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
)

// A trace is what strace saw of a broker: what it wrote to the files of its data
// directory, when it had them synced, and what it answered. It is read line by line, in
// the order in which the system calls began and ended.

// traceArgs are the arguments for strace. What is printed in full and in hexadecimal can
// be replayed.
func traceArgs(output string) []string {
	return []string{
		"-f", "-y", "-xx", "-s", "1048576", "-o", output, "-e",
		"trace=open,openat,pwrite64,write,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat",
	}
}

// call is one system call.
type call struct {
	name   string
	args   string
	result string // "" if it has not ended
	began  int    // number of the line
	ended  int    // number of the line; 0 if it has not
}

// event is the begin of a call, its end, or both in one.
type event struct {
	*call
	begins, ends bool
}

// callReader reads the events of a trace.
type callReader struct {
	lines *bufio.Reader
	n     int
	open  map[string]*call // by thread: begun and not ended
}

func newCallReader(src io.Reader) *callReader {
	return &callReader{lines: bufio.NewReaderSize(src, 1<<20), open: map[string]*call{}}
}

// next is the next event, or io.EOF. Lines that are no calls are passed over.
func (r *callReader) next() (event, error) {
	for {
		line, err := r.lines.ReadString('\n')
		if err != nil {
			return event{}, io.EOF // a killed strace leaves half a line
		}
		r.n++
		thread, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if !ok {
			continue
		}
		text = strings.TrimLeft(text, " ")
		if rest, ok := strings.CutPrefix(text, "<... "); ok {
			c := r.open[thread]
			delete(r.open, thread)
			if i := strings.LastIndex(rest, " = "); i >= 0 && c != nil {
				c.result, c.ended = rest[i+3:], r.n
				return event{call: c, ends: true}, nil
			}
			continue
		}
		name, rest, ok := strings.Cut(text, "(")
		if !ok || strings.ContainsAny(name, " +-") {
			continue // a signal, or the end of a thread
		}
		c := &call{name: name, began: r.n}
		if args, ok := strings.CutSuffix(rest, " <unfinished ...>"); ok {
			c.args = args
			r.open[thread] = c
			return event{call: c, begins: true}, nil
		}
		i := strings.LastIndex(rest, " = ")
		if i < 0 {
			continue
		}
		c.args, c.result, c.ended = strings.TrimSuffix(strings.TrimRight(rest[:i], " "), ")"), rest[i+3:], r.n
		return event{call: c, begins: true, ends: true}, nil
	}
}

// failed reports whether the call has ended with an error.
func (c *call) failed() bool { return strings.HasPrefix(c.result, "-") }

// path is what the descriptor in the first argument stands for.
func (c *call) path() string {
	_, rest, _ := strings.Cut(c.args, "<")
	text, _, _ := strings.Cut(rest, ">")
	return unhex(text)
}

// texts are the arguments in quotation marks.
func (c *call) texts() []string {
	var all []string
	for i, part := range strings.Split(c.args, `"`) {
		if i%2 == 1 {
			all = append(all, unhex(part))
		}
	}
	return all
}

// number is the last argument.
func (c *call) number() (int64, error) {
	i := strings.LastIndex(c.args, ", ")
	return strconv.ParseInt(c.args[i+2:], 10, 64)
}

// unhex decodes \x2f\x74, which strace writes for any text.
func unhex(text string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(text, `\x`, ""))
	if err != nil {
		return text
	}
	return string(b)
}

// answersIn are the ids of the requests that bytes to a socket say 200 to.
func answersIn(sent string) (ids []string) {
	for _, reply := range strings.Split(sent, "HTTP/1.1 ")[1:] {
		head, _, whole := strings.Cut(reply, "\r\n\r\n")
		_, rest, found := strings.Cut(head, "\r\nid: ")
		if id, _, _ := strings.Cut(rest, "\r\n"); whole && found && strings.HasPrefix(reply, "200 ") {
			ids = append(ids, id)
		}
	}
	return ids
}

// inode is a file of the data directory: what is on the disk for sure, and what may be.
type inode struct {
	synced  []byte
	pending []change
	size    int64 // with all that is pending
}

// change is a write or, without data, a new size. It is in force once the call has ended.
type change struct {
	at   int64
	data []byte
	call *call
}

// naming gives a name to a file, or takes it away (nil).
type naming struct {
	name string
	file *inode
}

// disk is the data directory as the calls leave it.
type disk struct {
	dir      string
	names    map[string]*inode // as the broker sees them
	durable  map[string]*inode // as they are on the disk for sure
	pending  []naming          // what may be on the disk as well, in this order
	answered map[string]bool
	deaf     bool // syncs do nothing: a disk that lies
}

func newDisk(dir string) *disk {
	return &disk{dir: dir, names: map[string]*inode{}, durable: map[string]*inode{}, answered: map[string]bool{}}
}

// name is a path within the data directory.
func (d *disk) name(path string) (string, bool) {
	name, err := filepath.Rel(d.dir, path)
	return name, err == nil && name != "." && !strings.HasPrefix(name, "..") && filepath.IsAbs(path)
}

// apply takes an event into account: a change when it begins, all else when it has ended.
func (d *disk) apply(e event) error {
	c := e.call
	if c.failed() {
		return nil
	}
	switch c.name {
	case "fallocate":
		if strings.Contains(c.args, "KEEP_SIZE") {
			return nil // room, which has no content
		}
		fallthrough
	case "pwrite64", "write", "ftruncate":
		if e.begins {
			return d.changed(c)
		}
		return nil
	}
	if !e.ends {
		return nil
	}
	switch c.name {
	case "open", "openat":
		d.created(c)
	case "fsync", "fdatasync":
		d.synced(c)
	case "rename", "renameat", "renameat2", "unlink", "unlinkat":
		d.renamed(c)
	}
	return nil
}

func (d *disk) created(c *call) {
	name, ours := d.name(c.texts()[0])
	if !ours {
		return
	}
	switch f := d.names[name]; {
	case f == nil && strings.Contains(c.args, "O_CREAT"):
		d.set(name, &inode{})
	case f != nil && strings.Contains(c.args, "O_TRUNC"):
		f.pending = append(f.pending, change{at: 0, call: c})
		f.size = 0
	}
}

func (d *disk) set(name string, f *inode) {
	if f == nil {
		delete(d.names, name)
	} else {
		d.names[name] = f
	}
	d.pending = append(d.pending, naming{name, f})
}

func (d *disk) changed(c *call) error {
	path := c.path()
	name, ours := d.name(path)
	if !ours {
		if c.name == "write" && (strings.HasPrefix(path, "socket:") || strings.HasPrefix(path, "TCP")) {
			for _, id := range answersIn(c.texts()[0]) {
				d.answered[id] = true
			}
		}
		return nil
	}
	f := d.names[name]
	if f == nil {
		return fmt.Errorf("line %d: a write to %s, which nothing created", c.began, name)
	}
	x := change{call: c}
	if c.name == "pwrite64" || c.name == "write" {
		x.data = []byte(c.texts()[0])
	}
	x.at = f.size
	if c.name != "write" {
		at, err := c.number()
		if err != nil {
			return fmt.Errorf("line %d: %w", c.began, err)
		}
		x.at = at
	}
	if c.name == "fallocate" { // of the whole file, which it makes no shorter
		if !strings.HasSuffix(c.args, fmt.Sprintf(", 0, %d", x.at)) {
			return fmt.Errorf("line %d: %s is not replayed", c.began, c.args)
		}
		x.at = max(x.at, f.size)
	}
	f.pending = append(f.pending, x)
	if f.size = max(f.size, x.at+int64(len(x.data))); x.data == nil {
		f.size = x.at
	}
	return nil
}

// synced makes durable what had ended before the sync began.
func (d *disk) synced(c *call) {
	path := c.path()
	switch {
	case d.deaf && len(d.answered) > 0:
		return
	case path == d.dir:
		d.settleNames()
		return
	}
	name, ours := d.name(path)
	f := d.names[name]
	if !ours || f == nil {
		return
	}
	left := f.pending[:0]
	for _, x := range f.pending {
		if x.call.ended > 0 && x.call.ended < c.began {
			f.synced = x.put(f.synced, nil)
		} else {
			left = append(left, x)
		}
	}
	f.pending = left
	d.settleNames() // ext4 commits the names with the first sync of any file
}

func (d *disk) settleNames() {
	for _, n := range d.pending {
		n.put(d.durable)
	}
	d.pending = nil
}

func (n naming) put(names map[string]*inode) {
	if n.file == nil {
		delete(names, n.name)
	} else {
		names[n.name] = n.file
	}
}

func (d *disk) renamed(c *call) {
	all := c.texts()
	from, ours := d.name(all[0])
	if !ours {
		return
	}
	f := d.names[from]
	d.set(from, nil)
	if len(all) > 1 {
		if to, ours := d.name(all[1]); ours && f != nil {
			d.set(to, f)
		}
	}
}

// storeFile is the name of the database, with which those of its other files begin.
const storeFile = "zbus.db"

// sector is what a disk writes as a whole.
const sector = 512

// put makes the change in b. keep says which sectors get there; nil: all of them.
func (x *change) put(b []byte, keep func() bool) []byte {
	if x.data == nil {
		switch {
		case keep != nil && !keep():
			return b
		case int64(len(b)) > x.at:
			return b[:x.at]
		}
		return append(b, make([]byte, x.at-int64(len(b)))...)
	}
	for from := 0; from < len(x.data); {
		n := min(sector-int((x.at+int64(from))%sector), len(x.data)-from)
		if keep == nil || keep() {
			at := x.at + int64(from)
			if short := at + int64(n) - int64(len(b)); short > 0 {
				b = append(b, make([]byte, short)...)
			}
			copy(b[at:], x.data[from:from+n])
		}
		from += n
	}
	return b
}

// image is the store's files as a power cut may leave them now: of what is not synced, each
// sector is there or not as keep says, and the names are those up to some point. The ballast,
// which is large, says nothing to a store.
func (d *disk) image(keep func() bool, names int) map[string][]byte {
	all := map[string]*inode{}
	for name, f := range d.durable {
		all[name] = f
	}
	for _, n := range d.pending[:names] {
		n.put(all)
	}
	files := map[string][]byte{}
	for name, f := range all {
		if !strings.HasPrefix(name, storeFile) {
			continue
		}
		b := bytes.Clone(f.synced)
		for i := range f.pending {
			b = f.pending[i].put(b, keep)
		}
		files[name] = b
	}
	return files
}
