package wire

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

// ends feeds a stream to a Follower and returns where each request ends that it has let
// pass. It is fed byte by byte where step is 0; otherwise only the count of bytes is true.
func ends(data []byte, step int, lim Limits) (at []int, passed int, refused, upgraded bool) {
	f := NewFollower(lim)
	for passed < len(data) {
		n, err := f.See(data[passed:min(passed+step+1, len(data))])
		passed += n
		switch {
		case err != nil:
			return at, passed, true, false
		case f.part == followNothing:
			return at, passed, false, true
		case f.InHead() && len(f.r.buf) == 0:
			at = append(at, passed)
		}
	}
	return at, passed, false, false
}

// FuzzFollower: a Follower and a Reader agree where each request ends, and which is
// refused, but for bodies that are too large: those it leaves to the handler that reads them. No part
// of a refused one that would make it whole is passed on.
func FuzzFollower(f *testing.F) {
	addSeeds(f, func(data []byte) { f.Add(data, uint8(7)) })
	f.Add([]byte("h\r\nTransfer-Encoding:Chunked\r\n\r\n33333456789\r\n"), uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, step uint8) {
		lim := Limits{Head: 1 << 10, Fields: 16, Body: 1 << 40}
		got, passed, refused, upgraded := ends(data, 0, lim)
		if _, n, no, up := ends(data, int(step), lim); no != refused || up != upgraded || !up && !no && n != passed {
			t.Fatalf("%q in pieces of %d: %d passed, refused %t", data, int(step)+1, n, no)
		}
		r, want := readAll(data, lim)
		if upgraded {
			if len(want) < len(got) {
				t.Fatalf("%q: ends at %v, the reader says %v", data, got, want)
			}
			want = want[:len(got)]
		} else if bad := r.err != nil; !tooLarge(r.err) && bad != refused && !(refused && refusesSoon(data, lim)) {
			t.Fatalf("%q: refused %t, the reader says %v", data, refused, r.err)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%q: ends at %v, the reader says %v", data, got, want)
		}
		if refused && len(want) > 0 && passed < want[len(want)-1] {
			t.Fatalf("%q: %d bytes passed of what is in order", data, passed)
		}
	})
}

// readAll reads all requests of a stream, and returns where they end.
func readAll(data []byte, lim Limits) (r *Reader, ends []int) {
	r = NewReader(bytes.NewReader(data), lim)
	for {
		if _, err := r.Read(); err != nil {
			return r, ends
		}
		ends = append(ends, len(data)-len(r.Buffered())-unread(r))
	}
}

// tooLarge reports whether a Reader refuses a body for its length alone.
func tooLarge(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status == 413
}

// refusesSoon reports whether a Reader refuses a stream with the line that has begun: it
// waits for its end, where a Follower refuses the first wrong byte.
func refusesSoon(data []byte, lim Limits) bool {
	r, _ := readAll(append(slices.Clone(data), "\r\n"...), lim)
	return r.err != nil
}

// unread is what the source of a Reader still has.
func unread(r *Reader) int { return r.src.(*bytes.Reader).Len() }

func TestAFollowerLetsNoHeadPassThatAReaderRefuses(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nhost: h\r\n"
	for name, stream := range map[string]string{
		"two framings":       head + "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
		"bare line feed":     "POST / HTTP/1.1\nhost: h\n\n",
		"the last line bare": head + "a: b\n\r\n",
		"a folded line":      head + "a: b\r\n c\r\n\r\n",
		"two lengths":        head + "content-length: 2\r\ncontent-length: 2\r\n\r\n",
		"a NUL":              head + "a: \x00\r\n\r\n",
		"too long":           head + strings.Repeat("a: "+strings.Repeat("b", 90)+"\r\n", 12) + "\r\n",
		"another coding":     head + "transfer-encoding: gzip, chunked\r\n\r\n",
	} {
		for _, first := range []string{"", head + "\r\n", head + "content-length: 3\r\n\r\nabc", head + "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"} {
			f := NewFollower(fuzzLimits)
			n, err := f.See([]byte(first + stream))
			if err == nil || n != len(first) {
				t.Errorf("%s behind %d bytes: %d passed, %v", name, len(first), n, err)
			}
			if n, again := f.See([]byte("x")); n != 0 || !errors.Is(again, err) {
				t.Errorf("%s: %d passed after it was refused, %v", name, n, again)
			}
		}
	}
}
