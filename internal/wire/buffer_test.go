package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// budget counts the bytes that a Reader holds, and refuses to go past limit.
type budget struct{ held, peak, limit int }

var errNoMemory = errors.New("budget spent")

func (b *budget) reserve(delta int) error {
	if b.limit > 0 && b.held+delta > b.limit {
		return errNoMemory
	}
	b.held += delta
	b.peak = max(b.peak, b.held)
	return nil
}

func budgeted(src io.Reader, limit int) (*Reader, *budget) {
	r, b := NewReader(src, Limits{}), &budget{limit: limit}
	r.Reserve(b.reserve)
	return r, b
}

func frameOf(size int) []byte {
	return AppendBody([]byte(startGET), bytes.Repeat([]byte("b"), size))
}

func chunkedFrameOf(size, chunk int) []byte {
	b := []byte(startGET + "transfer-encoding: chunked\r\n\r\n")
	for ; size > 0; size -= chunk {
		b = fmt.Appendf(b, "%x\r\n%s\r\n", chunk, strings.Repeat("b", chunk))
	}
	return append(b, "0\r\n\r\n"...)
}

// stalled returns an error where its data ends, as a connection that has
// nothing more to read and a deadline.
func stalled(data []byte) io.Reader {
	return io.MultiReader(bytes.NewReader(data), iotest.ErrReader(iotest.ErrTimeout))
}

func TestBufferGrowsOnlyAsBytesArrive(t *testing.T) {
	announced := fmt.Appendf(nil, "%scontent-length: %d\r\n\r\n", startGET, 16<<20)
	for _, sent := range []int{0, 10 << 10, 100 << 10, 5 << 20} {
		r, b := budgeted(stalled(append(announced, make([]byte, sent)...)), 0)
		if _, err := r.Read(); !errors.Is(err, iotest.ErrTimeout) {
			t.Fatal(err)
		}
		if most := max(minBuffer, 2*(sent+len(announced))); b.held > most {
			t.Errorf("%d bytes sent: buffer of %d, want at most %d", sent, b.held, most)
		}
	}
}

func TestIdleBufferIsSmall(t *testing.T) {
	for name, data := range map[string][]byte{
		"small message":   frameOf(10),
		"large body":      frameOf(3 << 20),
		"large chunks":    chunkedFrameOf(3<<20, 1<<16),
		"tiny chunks":     chunkedFrameOf(300<<10, 1),
		"large and small": append(frameOf(3<<20), frameOf(10)...),
	} {
		t.Run(name, func(t *testing.T) {
			r, b := budgeted(stalled(data), 0)
			if b.held != 0 {
				t.Errorf("%d bytes held before the first Fill", b.held)
			}
			var err error
			for err == nil {
				_, err = r.Read()
			}
			if !errors.Is(err, iotest.ErrTimeout) {
				t.Fatal(err)
			}
			if b.held != minBuffer {
				t.Errorf("%d bytes held, want %d", b.held, minBuffer)
			}
			r.Release()
			if b.held != 0 {
				t.Errorf("%d bytes held after Release", b.held)
			}
			if _, err := r.Read(); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("Read after Release: %v", err)
			}
		})
	}
}

func TestBusyBufferGrowsAndShrinks(t *testing.T) {
	busy := bytes.Repeat(frameOf(1000), 1000)
	r, b := budgeted(io.MultiReader(
		bytes.NewReader(busy),
		pieces{bytes.NewReader(bytes.Repeat(frameOf(0), 40)), len(frameOf(0))},
	), 0)
	for range 1000 {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if b.held != maxBuffer || b.peak != maxBuffer {
		t.Errorf("busy: %d bytes held, at most %d, want %d", b.held, b.peak, maxBuffer)
	}
	for range 40 {
		if _, err := r.Read(); err != nil {
			t.Fatal(err)
		}
	}
	if b.held != minBuffer {
		t.Errorf("after quiet reads: %d bytes held, want %d", b.held, minBuffer)
	}
}

func TestBudgetRefusesWith503(t *testing.T) {
	for name, limit := range map[string]int{"the first buffer": 1, "growth": 100 << 10} {
		r, b := budgeted(bytes.NewReader(frameOf(1<<20)), limit)
		_, err := r.Read()
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != 503 || !errors.Is(err, errNoMemory) {
			t.Errorf("%s: %v", name, err)
		}
		if r.Release(); b.held != 0 {
			t.Errorf("%s: %d bytes not given back", name, b.held)
		}
	}
}

// TestTinyChunksCostNoMoreMemoryThanTheirData: five bytes of framing come with
// each byte of data and must not stay in the buffer.
func TestTinyChunksCostNoMoreMemoryThanTheirData(t *testing.T) {
	const size = 200 << 10
	r, b := budgeted(bytes.NewReader(chunkedFrameOf(size, 1)), 0)
	m, err := r.Read()
	if err != nil || len(m.Body) != size {
		t.Fatal(err)
	}
	if b.peak > 2*size {
		t.Errorf("buffer of %d bytes for %d bytes of data", b.peak, size)
	}
}

// TestSlowSenderCostsLinearTime allows some hundred times what it needs. Looking
// at a frame from its start at each byte would need minutes.
func TestSlowSenderCostsLinearTime(t *testing.T) {
	const size = 2 << 20
	lim := Limits{Head: 2 * size, Fields: size}
	for name, data := range map[string][]byte{
		"long line":   []byte(startGET + "a: " + strings.Repeat("x", size) + "\r\n\r\n"),
		"many lines":  []byte(startGET + strings.Repeat("a: b\r\n", size/6) + "\r\n"),
		"long body":   frameOf(size),
		"many chunks": chunkedFrameOf(size/6, 1),
		"long chunk":  chunkedFrameOf(size, size),
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			r := NewReader(iotest.OneByteReader(bytes.NewReader(data)), lim)
			if _, err := r.Read(); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > 15*time.Second {
				t.Errorf("%d bytes, one at a time, took %v", len(data), took)
			}
		})
	}
}

func TestLargeBodiesInARow(t *testing.T) {
	var data []byte
	sizes := []int{1 << 20, 0, 70_000, 65_536, 65_000, 3, 1<<20 + 1, 64<<10 - 50}
	for _, size := range sizes {
		data = append(data, frameOf(size)...)
		data = append(data, chunkedFrameOf(size, max(size, 1))...)
	}
	for _, n := range []int{1 << 30, 100_000, 1000} {
		r := NewReader(pieces{bytes.NewReader(data), n}, Limits{})
		for i, size := range sizes {
			for range 2 {
				m, err := r.Read()
				if err != nil || len(m.Body) != size || strings.Trim(string(m.Body), "b") != "" || m.URL != "/" {
					t.Fatalf("message %d: %v", i, err)
				}
			}
		}
		if _, err := r.Read(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

func TestFillWithoutNext(t *testing.T) {
	r := NewReader(&endless{data: frameOf(100)}, Limits{})
	var err error
	for range 1000 {
		if err = r.Fill(); err != nil {
			break
		}
	}
	if !errors.Is(err, io.ErrShortBuffer) {
		t.Fatalf("got %v", err)
	}
	if m, err := r.Next(); err != nil || len(m.Body) != 100 {
		t.Fatal("the buffer is still good:", err)
	}
	if err := r.Fill(); err != nil {
		t.Fatal(err)
	}
}

func TestSourceWithoutProgress(t *testing.T) {
	r := NewReader(pieces{strings.NewReader("x"), 0}, Limits{})
	if _, err := r.Read(); !errors.Is(err, io.ErrNoProgress) {
		t.Fatal(err)
	}
}

// A larger buffer only saves reads: where there is no memory for one, messages still come.
func TestARefusedLargerBufferEndsNothing(t *testing.T) {
	frame := "GET / HTTP/1.1\r\ncmd: ping\r\n\r\n"
	const frames = 4000
	r := NewReader(strings.NewReader(strings.Repeat(frame, frames)), Limits{})
	refused, held := 0, 0
	r.Reserve(func(delta int) error {
		if held+delta > minBuffer {
			refused++
			return errors.New("no memory")
		}
		held += delta
		return nil
	})
	for n := range frames {
		if m, err := r.Read(); err != nil || m.Get(HeaderCmd) != CmdPing {
			t.Fatalf("frame %d: %v, %v", n, m, err)
		}
	}
	if refused == 0 || held != minBuffer {
		t.Errorf("refused %d times, %d bytes held", refused, held)
	}
}
