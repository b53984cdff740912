package sqlite

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/vfs"
	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"
)

// The mark is a small file next to the database. It says what the database and its log
// may not be older than, so that what is missing at the next start is noticed: SQLite
// itself drops without a word all that comes behind damage in its log.
//
// The file has two records, one of the goroutine that commits and one of the goroutine
// that syncs, and two places for each, used in turn: a record that is torn or damaged
// leaves the one before. Records are written over and over and not synced each time. A
// killed process leaves the newest; after a power cut there is one that is at most
// markEvery old. Either is true of what is on disk, as a record is only written when
// what it says has been synced.
//
//	0     512   logRecord, two places
//	1024  1536  syncRecord, two places
const (
	markSuffix  = "-mark"
	markPlace   = 512
	markSize    = 4 * markPlace
	markMagic   = 0x7a627573_6d61726b // "zbusmark"
	markVersion = 1
	// markEvery is how often the file is synced.
	markEvery = time.Second
)

// markHead begins each record.
type markHead struct {
	Magic   uint64
	Version uint32
	Kind    uint32
	Serial  uint64 // of both kinds; the highest is the newest
}

// The kinds of records.
const (
	logKind = 1 + iota
	syncKind
)

// identity is what a database and its mark have in common.
type identity [16]byte

func (i identity) String() string { return hex.EncodeToString(i[:]) }

// Flags of a logRecord.
const (
	markClosed  = 1 << iota // stopped gracefully: the log is empty, and nothing was written since
	markLoose               // the log may be of a round that the mark was not told of
	markRelaxed             // commits are answered before they are synced
)

// logRecord is what the goroutine that commits knows.
type logRecord struct {
	Identity identity
	Witness  [16]byte // see witness
	Flags    uint32
	Round    wal.Round // of the log; written before the log's own head
	Before   int64     // frames of the round before, all of them in the database
	Copied   int64     // frames of this one that are in the database
	Base     int64     // generation that the database has without its log
	Began    int64     // when the round did; wall clock in Unix milliseconds, for people
	Time     int64     // of the record, likewise
}

// syncRecord is what the goroutine that syncs knows.
type syncRecord struct {
	Round      wal.Round
	Frames     int64 // of the round that are on disk
	Generation int64 // that is on disk; see bump
	Last       wal.Frame
	Time       int64 // wall clock in Unix milliseconds, for people
}

// markState is what a mark says when it is read.
type markState struct {
	log    logRecord
	synced syncRecord
	serial uint64
	// The places that do not have the newest records.
	logNext, syncNext int64
}

// readMark reads the mark of a database. Without one it returns nil.
func readMark(path string) (*markState, error) {
	data, err := os.ReadFile(path + markSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &markState{}
	log, logNext := newest(data, 0, logKind, &m.log)
	synced, syncNext := newest(data, 2*markPlace, syncKind, &m.synced)
	if log == 0 || synced == 0 {
		return nil, errMark
	}
	m.serial, m.logNext, m.syncNext = max(log, synced), logNext, syncNext
	if synced > log && !m.log.Round.After(m.synced.Round) && m.synced.Round != m.log.Round {
		// The newest record of the committer is damaged, and the one before is of the round before.
		m.log.Round, m.log.Copied, m.log.Flags = m.synced.Round, 0, m.log.Flags&markRelaxed
	}
	return m, nil
}

// errMark: the mark has been there, and can't be read.
var errMark = errors.New("the mark can't be read")

// newest decodes the newest of two records into r, which is untouched when there is none,
// and returns its serial, 0 for none, and the place of the other one.
func newest[R any](data []byte, at int, kind uint32, r *R) (serial uint64, next int64) {
	for i := range int64(2) {
		if len(data) >= at+markPlace {
			place := data[at : at+markPlace]
			var head markHead
			n, err := binary.Decode(place, binary.BigEndian, &head)
			sum := binary.BigEndian.Uint32(place[markPlace-4:])
			good := err == nil && head.Magic == markMagic && head.Version == markVersion && head.Kind == kind &&
				sum == markSum(place)
			if good && head.Serial > serial {
				if _, err := binary.Decode(place[n:], binary.BigEndian, r); err == nil {
					serial, next = head.Serial, 1-i
				}
			}
		}
		at += markPlace
	}
	return serial, next
}

// markSum is the checksum that ends a place.
func markSum(place []byte) uint32 {
	return crc32.Checksum(place[:markPlace-4], crc32.MakeTable(crc32.Castagnoli)) // the standard library's own table
}

// frames is how many frames of the log's present round have to be on disk.
func (m *markState) frames() int64 {
	if m.synced.Round != m.log.Round {
		return m.log.Copied
	}
	return max(m.log.Copied, m.synced.Frames)
}

// mark is the file of a store that is open. A nil *mark, of a store that had no room for
// one, does nothing.
type mark struct {
	file   *os.File
	serial atomic.Uint64
	dirty  atomic.Bool // written and not synced

	// Of the goroutine that commits.
	log    logRecord
	logBuf markBuffer

	// Of the goroutine that syncs.
	synced  syncRecord
	syncBuf markBuffer

	stop chan struct{} // of the goroutine that opens and closes the store
	done sync.WaitGroup
}

// markBuffer is where a record is encoded, and in which of its places it goes.
type markBuffer struct {
	bytes [markPlace]byte
	next  int64
}

// openMark opens the file that m was read from.
func openMark(path string, m *markState) (*mark, error) {
	f, err := os.OpenFile(path+markSuffix, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	k := &mark{file: f, log: m.log, synced: m.synced}
	k.serial.Store(m.serial)
	k.logBuf.next, k.syncBuf.next = m.logNext, m.syncNext
	return k, nil
}

// state is what was written last.
func (k *mark) state() markState {
	return markState{log: k.log, synced: k.synced, serial: k.serial.Load(), logNext: k.logBuf.next, syncNext: k.syncBuf.next}
}

// createMark replaces the file by one with the given records.
func createMark(path string, log logRecord, synced syncRecord) (*mark, error) {
	draft := path + markSuffix + ".new"
	f, err := os.OpenFile(draft, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	k := &mark{file: f, log: log, synced: synced}
	_, err = f.Write(make([]byte, markSize)) // what is written later always has its place
	for range 2 {
		err = errors.Join(err, k.writeLog(), k.writeSynced())
	}
	if err = errors.Join(err, f.Sync()); err == nil {
		err = os.Rename(draft, path+markSuffix)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(draft))
	}
	k.dirty.Store(false)
	return k, nil
}

func (k *mark) writeLog() error {
	k.log.Time = time.Now().UnixMilli() // wall clock: for people
	return writeRecord(k, &k.logBuf, 0, logKind, &k.log)
}

func (k *mark) writeSynced() error {
	k.synced.Time = time.Now().UnixMilli() // wall clock: for people
	return writeRecord(k, &k.syncBuf, 2*markPlace, syncKind, &k.synced)
}

// writeRecord writes a record to the place that has not the newest one.
func writeRecord[R any](k *mark, b *markBuffer, at int64, kind uint32, r *R) error {
	head := markHead{Magic: markMagic, Version: markVersion, Kind: kind, Serial: k.serial.Add(1)}
	n, err := binary.Encode(b.bytes[:], binary.BigEndian, &head)
	if err != nil {
		return err
	}
	if _, err := binary.Encode(b.bytes[n:markPlace-4], binary.BigEndian, r); err != nil {
		return err
	}
	binary.BigEndian.PutUint32(b.bytes[markPlace-4:], markSum(b.bytes[:]))
	_, err = k.file.WriteAt(b.bytes[:], at+b.next*markPlace)
	b.next = 1 - b.next
	k.dirty.Store(true)
	if vfs.NoRoom(err) { // a file system that writes nothing in place: the last record stays true
		return nil
	}
	return err
}

// begin notes that the log is about to start a round, after one of so many frames. When
// the file of the log is a new one, that is on disk before there is a log.
func (k *mark) begin(r wal.Round, before, generation int64) error {
	if k == nil {
		return nil
	}
	again := r.After(k.log.Round) && k.log.Flags&markClosed == 0
	k.log.Flags &^= markClosed | markLoose
	k.log.Round, k.log.Before, k.log.Copied, k.log.Base = r, before, 0, max(generation, k.log.Base)
	k.log.Began = time.Now().UnixMilli() // wall clock: for people
	err := k.writeLog()
	if err == nil && !again {
		err = k.sync()
	}
	return err
}

// copied notes how much of a round is in the database, on disk.
func (k *mark) copied(r wal.Round, frames, generation int64) error {
	if k == nil || r != k.log.Round || frames == k.log.Copied && generation == k.log.Base {
		return nil
	}
	k.log.Copied, k.log.Base = frames, max(generation, k.log.Base)
	return k.writeLog()
}

// reached notes what a sync has made durable.
func (k *mark) reached(p wal.Position) error {
	if k == nil {
		return nil
	}
	k.synced.Round, k.synced.Frames, k.synced.Generation, k.synced.Last = p.Round, p.Frames, p.Generation, p.Last
	return k.writeSynced()
}

// flag sets and clears flags, on disk when it returns.
func (k *mark) flag(set, clear uint32) error {
	if k == nil {
		return nil
	}
	k.log.Flags = k.log.Flags&^clear | set
	if err := k.writeLog(); err != nil {
		return err
	}
	return k.sync()
}

func (k *mark) sync() error {
	if !k.dirty.Swap(false) {
		return nil
	}
	if err := syncData(k.file); err != nil {
		return fmt.Errorf("sync %s: %w", k.file.Name(), err)
	}
	return nil
}

// start syncs the file now and then, until close. failed is told of the first error,
// after which there are no more.
func (k *mark) start(failed func(error)) {
	if k == nil {
		return
	}
	stop := make(chan struct{})
	k.stop = stop
	k.done.Go(func() {
		tick := time.NewTicker(markEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := k.sync(); err != nil {
					failed(err)
					return
				}
			case <-stop:
				return
			}
		}
	})
}

// halt ends what start began. After it the file belongs to the caller.
func (k *mark) halt() {
	if k != nil && k.stop != nil {
		close(k.stop)
		k.stop = nil
		k.done.Wait()
	}
}

func (k *mark) close() error {
	if k == nil {
		return nil
	}
	k.halt()
	return k.file.Close()
}
