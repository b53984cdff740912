package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/storage"
)

// writeImage writes an image and ends it.
func writeImage(t *testing.T, im *Image, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(im.Copy(t.Context(), f), f.Close(), im.Close()); err != nil {
		t.Fatal(err)
	}
	if size(path) != im.Size() {
		t.Errorf("%d bytes, announced were %d", size(path), im.Size())
	}
}

func TestImageIsTheDatabaseWhenItBegan(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	a, b := addTopic(t, s, "a"), addTopic(t, s, "b")
	mustCommit(t, s, &storage.Append{Topic: a, Records: messages(1000, 0)}, &storage.Append{Topic: b, Records: messages(3, 0)}) // the 3 are fresh
	im, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		mustCommit(t, s, &storage.Append{Topic: a, Records: messages(1000, 0)}, &storage.Append{Topic: b, Records: messages(3, 0)})
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "image.db")
	writeImage(t, im, path)
	if head, err := os.ReadFile(path); err != nil || head[formatVersions] != withoutLog || head[formatVersions+1] != withoutLog {
		t.Errorf("the image says that it has a log: %v %v", head[formatVersions:formatVersions+2], err)
	}

	copied := mustOpen(t, Options{Path: path})
	after, err := copied.Load(t.Context())
	if got, want := fmt.Sprint(after), fmt.Sprint(before); err != nil || got != want {
		t.Errorf("the image has\n%s\nbut when it began there was\n%s\n%v", got, want, err)
	}
	for _, topic := range after.Topics {
		rs, err := copied.Read(t.Context(), topic.ID, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil || int64(len(rs)) != topic.Next {
			t.Errorf("topic %d: %d messages of %d, %v", topic.ID, len(rs), topic.Next, err)
		}
		for _, r := range rs {
			if r.Damaged() {
				t.Errorf("topic %d, message %d is damaged", topic.ID, r.Offset)
			}
		}
	}
}

// Without this the writer would wait for the reader of the image, five seconds at a time.
func TestImageHoldsUpNoCommitAndTheLogIsShortAfterIt(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	large := messages(1, 0)
	write := func() (slowest time.Duration) {
		large[0].Body = bytes.Repeat([]byte("x"), 1<<20)
		began := time.Now()
		mustCommit(t, s, &storage.Append{Topic: topic, Records: large})
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
		return time.Since(began)
	}
	im, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 * hardFrames / 256 {
		if took := write(); took > 4*time.Second {
			t.Fatalf("a commit took %v while an image was read", took)
		}
	}
	if frames := s.logState().frames; frames < 2*hardFrames {
		t.Fatalf("the log has %d frames: the image does not hold it", frames)
	}
	if err := im.Close(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); s.logState().frames > hardFrames; write() {
		if time.Since(began) > time.Minute {
			t.Fatalf("the log still has %d frames", s.logState().frames)
		}
	}
}

func TestImageEndsWhenTheLogIsTooLarge(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db"), imageLog: 1 << 20})
	topic := addTopic(t, s, "t")
	im, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	rs := messages(1, 0)
	for range 2 {
		rs[0].Body = make([]byte, 1<<20)
		mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
	}
	if err := im.Copy(t.Context(), io.Discard); !errors.Is(err, ErrLogTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestStoreClosesWhenItsImageIsClosed(t *testing.T) {
	s := mustOpen(t, Options{Path: filepath.Join(t.TempDir(), "zbus.db")})
	topic := addTopic(t, s, "t")
	rs := messages(1, 0)
	rs[0].Body = make([]byte, 4*imageChunk)
	mustCommit(t, s, &storage.Append{Topic: topic, Records: rs})
	im, err := s.Image()
	if err != nil {
		t.Fatal(err)
	}
	done, once := make(chan error, 1), sync.Once{}
	w := writerFunc(func(p []byte) (int, error) {
		once.Do(func() {
			go func() { done <- s.Close() }()
			for !s.images.closing() {
				runtime.Gosched()
			}
		})
		return len(p), nil
	})
	if err := im.Copy(t.Context(), w); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("the copy ended with %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("the store closed under its image: %v", err)
	default:
	}
	if err := errors.Join(im.Close(), <-done); err != nil {
		t.Error(err)
	}
	if _, err := s.Image(); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("an image of a closed store: %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestImageOfAKilledProcessHasItsLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	for i := range killTopics {
		addTopic(t, s, fmt.Sprint("t", i))
	}
	mustCommit(t, s, &storage.CreateGroup{Group: &storage.Group{Topic: 1, Name: "g"}})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, next := killedWriter(t, path, "", 20)
	before := readFiles(t, path, path+"-wal")
	im, err := OpenImage(path)
	if err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(t.TempDir(), "image.db")
	writeImage(t, im, image)
	if after := readFiles(t, path, path+"-wal"); !bytes.Equal(before, after) {
		t.Error("taking the image changed the database")
	}
	state, err := mustOpen(t, Options{Path: image}).Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range next {
		if state.Topics[i].Next < next[i] {
			t.Errorf("topic %d is in the image up to %d, committed was %d", i, state.Topics[i].Next, next[i])
		}
	}
}

func readFiles(t *testing.T, paths ...string) (all []byte) {
	t.Helper()
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data...)
	}
	return all
}
