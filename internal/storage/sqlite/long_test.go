package sqlite

import (
	"path/filepath"
	"testing"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/rushmore/zbus-go/internal/storage"
)

// fullLoad commits, syncs and maintains as fast as it can until it is told to stop. It
// returns how long the log was at most, in frames, and how long one round took.
func fullLoad(t *testing.T, s *Store, topic storage.TopicID, until func() bool) (longest int64, slowest time.Duration) {
	t.Helper()
	rs := messages(64, 64<<10)
	for !until() {
		began := time.Now()
		mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
		if err := s.Sync(); err != nil {
			t.Fatal(err)
		}
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
		longest, slowest = max(longest, s.logState().frames), max(slowest, time.Since(began))
	}
	return longest, slowest
}

// The disk takes what is copied more slowly than what is logged, and there is always more
// to log: the log that an image has made long starts again all the same, and before it is
// much longer.
func TestLogIsShortAgainAfterAnImageUnderFullLoad(t *testing.T) {
	needsOwnIO(t)
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db"), Durability: Relaxed})
	s.copier.files.OnWrite(func(_, n int64) int32 {
		time.Sleep(time.Duration(n) * time.Second / (96 << 20)) // a disk of 96 MiB a second at most
		return lib.SQLITE_OK
	})
	topic := addTopic(t, s, "t")
	frames := func() int64 { return s.logState().frames }
	fullLoad(t, s, topic, func() bool { _, round := s.follower.Logged(); return round >= 2 })
	im, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	fullLoad(t, s, topic, func() bool { return frames() > 3*hardFrames })
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	held, began := frames(), time.Now()
	short := func() bool { return frames() < hardFrames }
	longest, slowest := fullLoad(t, s, topic, func() bool { return short() || time.Since(began) > 30*time.Second })
	t.Logf("%d frames, then up to %d; short again after %v, and no round took longer than %v", held, longest, time.Since(began), slowest)
	if !short() || longest > 3*held {
		t.Errorf("the log had %d frames when the image was closed, then up to %d, and after %v %d", held, longest, time.Since(began), frames())
	}
}
