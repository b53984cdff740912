package sqlite

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage/sqlite/wal"

	"github.com/rushmore/zbus-go/internal/storage"
)

// closed is a scene after an orderly stop.
func closed(t *testing.T) *scene {
	t.Helper()
	s := kill(t, Fsync.String(), 10)
	if kept, err := s.open(t, ""); err != nil || !kept {
		t.Fatalf("after a kill: %v, all kept: %v", err, kept)
	}
	return s
}

// marked is a scene after a kill that came when the mark said all of what was written.
func marked(t *testing.T) *scene {
	t.Helper()
	for {
		s := kill(t, Fsync.String(), 10)
		m, err := readMark(s.path)
		if err != nil {
			t.Fatal(err)
		}
		scan, err := wal.Scan(s.path+"-wal", pageSize(s.path))
		if err != nil {
			t.Fatal(err)
		}
		if m.frames() == scan.Valid {
			return s
		}
	}
}

// again has a scene's database written to, and closes it or kills the writer.
func (s *scene) again(t *testing.T, orderly bool) {
	t.Helper()
	s.cursor, s.next = killedWriter(t, s.path, s.mode, 10)
	if orderly {
		if kept, err := s.open(t, ""); err != nil || !kept {
			t.Fatalf("after a kill: %v, all kept: %v", err, kept)
		}
	}
}

func TestFilesThatDoNotBelongTogetherAreNeverOpenedSilently(t *testing.T) {
	killed, stopped, other := kill(t, Fsync.String(), 10), closed(t), kill(t, Fsync.String(), 10)
	for _, c := range []struct {
		name    string
		from    *scene
		refused bool
		change  func(t *testing.T, s *scene)
	}{
		{"killed, nothing else", killed, false, func(*testing.T, *scene) {}},
		{"killed, log removed", killed, true, func(t *testing.T, s *scene) { remove(t, s.path+"-wal") }},
		{"killed, log and index removed", killed, true, func(t *testing.T, s *scene) {
			remove(t, s.path+"-wal")
			remove(t, s.path+"-shm")
		}},
		{"killed, log cut", killed, true, func(t *testing.T, s *scene) { truncate(t, s.path+"-wal", size(s.path+"-wal")/2) }},
		{"killed, log empty", killed, true, func(t *testing.T, s *scene) { truncate(t, s.path+"-wal", 0) }},
		{"killed, log of another database", killed, true, func(t *testing.T, s *scene) { copyFile(t, other.path+"-wal", s.path+"-wal") }},
		{"killed, database of another log", killed, true, func(t *testing.T, s *scene) { copyFile(t, other.path, s.path) }},
		{"killed, database removed", killed, true, func(t *testing.T, s *scene) { remove(t, s.path) }},
		{"killed, all removed but the mark", killed, true, func(t *testing.T, s *scene) {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				remove(t, s.path+suffix)
			}
		}},
		{"killed, index removed", killed, false, func(t *testing.T, s *scene) { remove(t, s.path+"-shm") }},
		{"killed, mark removed", killed, false, func(t *testing.T, s *scene) { remove(t, s.path+markSuffix) }},
		{"killed, mark cut", killed, false, func(t *testing.T, s *scene) { truncate(t, s.path+markSuffix, 0) }},
		{"killed, then read by another program", marked(t), false, func(t *testing.T, s *scene) { edit(t, s.path, "SELECT 1 FROM topics") }},
		{"killed, then again, older database", killed, true, func(t *testing.T, s *scene) {
			old := s.copy(t, t.TempDir())
			s.again(t, false)
			copyFile(t, old.path, s.path)
		}},
		{"killed, then again, older database and log", killed, true, func(t *testing.T, s *scene) {
			old := s.copy(t, t.TempDir())
			s.again(t, false)
			copyFile(t, old.path, s.path)
			copyFile(t, old.path+"-wal", s.path+"-wal")
		}},
		{"stopped, nothing else", stopped, false, func(*testing.T, *scene) {}},
		{"stopped, database removed", stopped, true, func(t *testing.T, s *scene) { remove(t, s.path) }},
		{"stopped, another database", stopped, true, func(t *testing.T, s *scene) { copyFile(t, closed(t).path, s.path) }},
		{"stopped, a log of another database", stopped, false, func(t *testing.T, s *scene) { copyFile(t, other.path+"-wal", s.path+"-wal") }},
		{"stopped, an old log", stopped, false, func(t *testing.T, s *scene) {
			s.again(t, false)
			old := s.copy(t, t.TempDir())
			s.again(t, true)
			copyFile(t, old.path+"-wal", s.path+"-wal")
		}},
		{"stopped twice, older database", stopped, true, func(t *testing.T, s *scene) {
			old := s.copy(t, t.TempDir())
			s.again(t, true)
			copyFile(t, old.path, s.path)
		}},
		{"stopped, edited by another program", stopped, false, func(t *testing.T, s *scene) {
			edit(t, s.path, "UPDATE topics SET creator = 'ann'")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.from.copy(t, t.TempDir())
			c.change(t, s)
			before := hash(t, s.path) + hash(t, s.path+"-wal")
			kept, err := s.open(t, "")
			var loss *storage.Loss
			switch {
			case c.refused && !errors.As(err, &loss):
				t.Errorf("opened with %v, all kept: %v", err, kept)
			case c.refused && hash(t, s.path)+hash(t, s.path+"-wal") != before:
				t.Error("refused files were changed")
			case !c.refused && (err != nil || !kept):
				t.Errorf("opened with %v, all kept: %v", err, kept)
			}
			t.Log(err)
		})
	}
}

// After a restart of the machine, what had not been synced may be missing in any order,
// and what had been may not.
func TestAfterAPowerCutOnlyWhatWasNotSyncedMayBeMissing(t *testing.T) {
	killed := kill(t, Fsync.String(), 40)
	m, err := readMark(killed.path)
	if err != nil || m.synced.Round != m.log.Round || m.synced.Frames <= m.log.Copied {
		t.Fatalf("mark %+v, %v", m, err)
	}
	frame := func(n int64) int64 { return wal.Head + (n-1)*(wal.FrameHead+4096) }
	end := size(killed.path + "-wal")
	for _, c := range []struct {
		name    string
		refused bool
		synced  int64 // frames that the mark on disk knows of
		change  func(t *testing.T, path string)
	}{
		{"nothing is missing", false, m.synced.Frames, func(*testing.T, string) {}},
		{"a synced frame is bad", true, m.synced.Frames, func(t *testing.T, path string) { overwrite(t, path, frame(m.synced.Frames)+100, []byte("x")) }},
		{"the end is missing", false, 3, func(t *testing.T, path string) { truncate(t, path, end-5000) }},
		{"a frame in the middle of what was not synced is missing", false, 3, func(t *testing.T, path string) {
			overwrite(t, path, frame(m.synced.Frames/2), make([]byte, 4096))
		}},
		{"the head is missing", true, 3, func(t *testing.T, path string) { overwrite(t, path, 0, make([]byte, wal.Head)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := killed.copy(t, t.TempDir())
			earlier := *m
			earlier.log.Witness, earlier.log.Copied, earlier.log.Base = [16]byte{1}, 0, 0
			earlier.synced.Frames = c.synced
			k, err := createMark(s.path, earlier.log, earlier.synced)
			if err == nil {
				err = k.close()
			}
			if err != nil {
				t.Fatal(err)
			}
			c.change(t, s.path+"-wal")
			_, err = s.open(t, "")
			var loss *storage.Loss
			if c.refused != errors.As(err, &loss) || !c.refused && err != nil {
				t.Errorf("opened with %v", err)
			}
			t.Log(err)
		})
	}
}

func TestMarkSurvivesOneBadRecord(t *testing.T) {
	s := kill(t, Fsync.String(), 20)
	want, err := readMark(s.path)
	if err != nil {
		t.Fatal(err)
	}
	for place := range int64(4) {
		c := s.copy(t, t.TempDir())
		overwrite(t, c.path+markSuffix, place*markPlace+40, []byte{0xff, 0xfe})
		got, err := readMark(c.path)
		if err != nil || got.log.Identity != want.log.Identity || got.frames() > want.frames() || got.frames() == 0 {
			t.Errorf("place %d: %+v, %v; want %+v", place, got, err, want)
		}
		if kept, err := c.open(t, ""); err != nil || !kept {
			t.Errorf("place %d: %v, all kept: %v", place, err, kept)
		}
	}
}

func TestUnreadableMarkIsReported(t *testing.T) {
	s := closed(t)
	if err := os.WriteFile(s.path+markSuffix, []byte("no mark"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	store := mustOpen(t, Options{Path: s.path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if !strings.Contains(log.String(), "mark can't be read") {
		t.Errorf("log: %s", &log)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if m, err := readMark(s.path); err != nil || m.log.Flags&markClosed == 0 {
		t.Errorf("the new mark: %+v, %v", m, err)
	}
}

func TestVerifyFindsWhatIsMissing(t *testing.T) {
	s := kill(t, Fsync.String(), 10)
	other := kill(t, Fsync.String(), 10)
	for name, c := range map[string]struct {
		finding string
		change  func(t *testing.T, path string)
	}{
		"nothing":           {"", func(*testing.T, string) {}},
		"a log that is cut": {"was written up to frame", func(t *testing.T, path string) { truncate(t, path+"-wal", size(path+"-wal")/2) }},
		"another database": {"is another database", func(t *testing.T, path string) {
			remove(t, path+"-wal")
			copyFile(t, other.path, path)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := s.copy(t, t.TempDir())
			c.change(t, d.path)
			report, err := Verify(t.Context(), d.path, VerifyOptions{})
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for i := range report.Findings {
				found = found || strings.Contains(report.Findings[i].Text, c.finding)
			}
			if c.finding == "" && !report.Sound() || c.finding != "" && !found {
				t.Errorf("findings %+v, want %q", report.Findings, c.finding)
			}
		})
	}
}
