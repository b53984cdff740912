package sqlite

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

// scene is a database as a killed process left it, and what that had answered.
type scene struct {
	path   string
	mode   string
	cursor int64
	next   [killTopics]int64
}

// kill makes a scene.
func kill(t *testing.T, mode string, lines int) *scene {
	t.Helper()
	s := &scene{path: filepath.Join(t.TempDir(), "zbus.db"), mode: mode}
	killTopicsIn(t, s.path)
	s.cursor, s.next = killedWriter(t, s.path, mode, lines)
	if size(s.path+"-wal") == 0 {
		t.Fatal("nothing is in the log")
	}
	return s
}

// copy makes another one, to be damaged.
func (s *scene) copy(t *testing.T, dir string) *scene {
	t.Helper()
	c := *s
	c.path = filepath.Join(dir, "zbus.db")
	for _, suffix := range sceneFiles {
		if _, err := os.Stat(s.path + suffix); err == nil {
			copyFile(t, s.path+suffix, c.path+suffix)
		}
	}
	return &c
}

var sceneFiles = []string{"", "-wal", "-shm", markSuffix}

// open opens the database. kept says whether all that was answered is there, as it was
// written; without an error and without that, something was lost without a word.
func (s *scene) open(t *testing.T, accept string) (kept bool, err error) {
	t.Helper()
	store, err := Open(context.Background(), Options{Path: s.path, AcceptLoss: accept, PlainIO: plainIO()})
	if err != nil {
		return false, err
	}
	defer store.Close()
	state, err := store.Load(context.Background())
	if err != nil || len(state.Topics) != killTopics || len(state.Groups) != 1 {
		return false, nil
	}
	kept = state.Groups[0].Cursor >= s.cursor
	for i, topic := range state.Topics {
		rs, err := store.Read(context.Background(), topic.ID, 0, storage.Page{Rows: 1 << 20}, nil)
		kept = kept && err == nil && topic.Next >= s.next[i] && int64(len(rs)) == topic.Next
		for n, r := range rs {
			kept = kept && string(r.Body) == string(bodyOf(int64(n)))
		}
	}
	return kept, store.Close()
}

// flip flips a bit of a file: any, or one of the heads of a log when there is to be one.
func flip(t *testing.T, path string, random *rand.Rand, head bool) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := random.IntN(len(data))
	if head {
		at = random.IntN(wal.Head)
		if frames := (len(data) - wal.Head) / (wal.FrameHead + 4096); random.IntN(8) > 0 && frames > 0 {
			at = wal.Head + random.IntN(frames)*(wal.FrameHead+4096) + random.IntN(wal.FrameHead)
		}
	}
	bit := byte(1) << random.IntN(8)
	data[at] ^= bit
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("bit %#x of byte %d of %d", bit, at, len(data))
}

// After a kill every bit of the log is flipped that chance picks. Each time the store
// refuses to open, or has all that was answered.
func TestFlippedBitInTheLogIsNeverSilent(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	n := faultreport.ScaleAlways(t, 24, 10_000)
	for _, mode := range []string{Fsync.String(), Relaxed.String()} {
		t.Run(mode, func(t *testing.T) {
			refused, harmless, silent := 0, 0, 0
			dir := t.TempDir()
			var s *scene
			for i := range n / 2 {
				if i%12 == 0 {
					s = kill(t, mode, 1+random.IntN(500))
				}
				c := s.copy(t, dir)
				where := flip(t, c.path+"-wal", random, i%2 == 0)
				before := hash(t, c.path) + hash(t, c.path+"-wal")
				kept, err := c.open(t, "")
				switch {
				case err == nil && kept:
					harmless++
				case err == nil:
					silent++
					t.Errorf("flip %d (seed %d), %s: something answered is missing, without a word", i, seed, where)
				case !errors.Is(err, storage.ErrDamaged):
					t.Errorf("flip %d (seed %d), %s: %v", i, seed, where, err)
				default:
					refused++
					if hash(t, c.path)+hash(t, c.path+"-wal") != before {
						t.Errorf("flip %d (seed %d), %s: refused, and changed", i, seed, where)
					}
				}
				emptyDir(t, dir)
			}
			r := faultreport.Record{
				Test: "flips-log-" + mode, Fault: "a bit of the log is flipped after a kill, " + mode, Promise: "it is noticed, or nothing answered is lost",
				Runs: n / 2, Broken: silent,
			}
			r.Add("refused", refused)
			r.Add("harmless", harmless)
			r.Add("silent", silent)
			r.Save(t)
			if refused == 0 && n >= 1000 { // of a few, all may hit what has been copied
				t.Error("no flip was noticed")
			}
		})
	}
}

// emptyDir removes the files of a directory.
func emptyDir(t *testing.T, dir string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is missing can be accepted, once, by its name.
func TestLossThatIsAcceptedOpensWithWhatIsLeft(t *testing.T) {
	s := kill(t, Fsync.String(), 40)
	for name, damage := range map[string]func(t *testing.T, path string){
		"a frame": func(t *testing.T, path string) { overwrite(t, path+"-wal", wal.Head+wal.FrameHead+8, []byte("damage")) },
		"the head": func(t *testing.T, path string) {
			overwrite(t, path+"-wal", 12, []byte{1, 2, 3})
		},
		"no log":      func(t *testing.T, path string) { remove(t, path+"-wal") },
		"no database": func(t *testing.T, path string) { remove(t, path) },
	} {
		t.Run(name, func(t *testing.T) {
			c := s.copy(t, t.TempDir())
			damage(t, c.path)
			log, err := os.ReadFile(c.path + "-wal")
			if err != nil {
				log = nil
			}
			var loss *storage.Loss
			for range 2 { // the second time it is the same loss, and the same copy
				if _, err := c.open(t, ""); !errors.As(err, &loss) {
					t.Fatalf("opened with %v", err)
				}
			}
			if copies, _ := filepath.Glob(c.path + "-wal-*"); log != nil && (len(copies) != 1 || copies[0] != loss.Copy) {
				t.Fatalf("copies of the log: %q, want %q", copies, loss.Copy)
			}
			if info, err := os.Stat(loss.Copy); log != nil && (err != nil || info.Mode().Perm() != 0o600 || info.Size() != int64(len(log))) {
				t.Errorf("copy: %v, %v", info, err)
			}
			if _, err := c.open(t, "00000000"); !errors.As(err, &loss) {
				t.Errorf("another loss was accepted: %v", err)
			}
			if kept, err := c.open(t, loss.ID); err != nil || kept {
				t.Fatalf("accepted: %v, all kept: %v", err, kept)
			}
			store := mustOpen(t, Options{Path: c.path})
			if found, err := store.writer.value("PRAGMA integrity_check"); err != nil || found != "ok" {
				t.Errorf("integrity: %v, %v", found, err)
			}
			addTopic(t, store, "new")
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestChecksumOfTheLogIsSQLites(t *testing.T) {
	s := kill(t, Fsync.String(), 30)
	scan, err := wal.Scan(s.path+"-wal", 4096)
	if err != nil {
		t.Fatal(err)
	}
	m, err := readMark(s.path)
	if err != nil {
		t.Fatal(err)
	}
	index, ok := wal.ReadIndex(s.path+"-shm", scan.Round)
	if !ok || scan.Head != wal.GoodHead || scan.Valid == 0 || index.Frames != scan.Valid || m.log.Round != scan.Round {
		t.Errorf("scan %+v, index %+v %v, mark %+v", scan, index, ok, m)
	}
	if m.synced.Frames == 0 || m.synced.Frames > scan.Valid || m.synced.Generation == 0 {
		t.Errorf("the mark says %+v of %d frames", m.synced, scan.Valid)
	}
	head := make([]byte, 32)
	f, err := os.Open(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Read(head); err != nil || binary.BigEndian.Uint32(head[8:]) != 4096 {
		t.Errorf("head %x, %v", head, err)
	}
}
