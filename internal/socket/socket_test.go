package socket_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/socket"
)

// patience is how long what must happen may take.
const patience = 20 * time.Second

// pairs makes connections over loopback.
type pairs struct {
	ln      net.Listener
	hangups *socket.Hangups
}

func newPairs(t testing.TB) *pairs {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hangups, err := socket.NewHangups()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ln.Close()
		if err := hangups.Close(); err != nil {
			t.Error(err)
		}
	})
	return &pairs{ln, hangups}
}

// open makes one connection: the client's end, and the other one as it was accepted.
func (p *pairs) open(t testing.TB) (client *net.TCPConn, accepted net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", p.ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = p.ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), accepted.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn), accepted
}

// connect makes one connection whose accepted end is a Conn.
func (p *pairs) connect(t testing.TB) (client *net.TCPConn, conn *socket.Conn) {
	t.Helper()
	client, accepted := p.open(t)
	conn = socket.New(accepted, p.hangups)
	t.Cleanup(conn.Release)
	return client, conn
}

// within fails the test when f does not end: a read that waits forever.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("%s: nothing after %v", what, patience)
	}
}

// The bytes and the end of the stream come in every order and distance, seen from
// who reads: none may be missed, with no deadline to help.
func TestTheEndIsHeardHoweverItComes(t *testing.T) {
	ends := map[string]func(*net.TCPConn){
		"close":       func(c *net.TCPConn) { _ = c.Close() },
		"close write": func(c *net.TCPConn) { _ = c.CloseWrite() },
		"reset":       func(c *net.TCPConn) { _, _ = c.SetLinger(0), c.Close() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			p := newPairs(t)
			for range 300 {
				client, conn := p.connect(t)
				go func() {
					_, _ = client.Write([]byte("one"))
					if rand.IntN(2) == 0 {
						_, _ = client.Write([]byte("two"))
					}
					end(client)
				}()
				within(t, "the end", func() {
					got, err := io.ReadAll(conn)
					if name != "reset" && (err != nil || len(got) < 3) {
						t.Errorf("read %q, %v", got, err)
					}
					if name == "reset" && err != nil && !errors.Is(err, syscall.ECONNRESET) {
						t.Errorf("a reset reads as %v", err)
					}
				})
				client.Close()
				conn.Release()
				conn.Close()
			}
		})
	}
}

func TestWhatWasSentBeforeTheEndIsReadAfterIt(t *testing.T) {
	client, conn := newPairs(t).connect(t)
	sent := bytes.Repeat([]byte("0123456789"), 2000)
	_, _ = client.Write(sent)
	_ = client.CloseWrite()
	within(t, "the rest", func() {
		var got []byte
		piece := make([]byte, 777)
		for {
			// As a session does: the deadline is renewed between two reads, also when
			// the peer has hung up since.
			_ = conn.SetReadDeadline(time.Now().Add(patience))
			n, err := conn.Read(piece)
			got = append(got, piece[:n]...)
			if err != nil {
				if !errors.Is(err, io.EOF) || !bytes.Equal(got, sent) {
					t.Errorf("read %d of %d bytes, then %v", len(got), len(sent), err)
				}
				return
			}
		}
	})
}

func TestBytesArriveBothWaysAsTheyWereSent(t *testing.T) {
	client, conn := newPairs(t).connect(t)
	sent := make([]byte, 4<<20)
	for i := range sent {
		sent[i] = byte(rand.Uint32())
	}
	var all sync.WaitGroup
	all.Go(func() { // the client sends in pieces of any size
		for rest := sent; len(rest) > 0; {
			n := min(1+rand.IntN(100_000), len(rest))
			_, _ = client.Write(rest[:n])
			rest = rest[n:]
		}
		_ = client.CloseWrite()
	})
	all.Go(func() { // the Conn sends back what it reads
		piece := make([]byte, 64<<10)
		for {
			n, err := conn.Read(piece[:1+rand.IntN(len(piece))])
			if rest := piece[conn.TryWrite(piece[:n]):n]; len(rest) > 0 {
				_, _ = conn.Write(rest)
			}
			if err != nil {
				_ = conn.CloseWrite()
				return
			}
		}
	})
	got, err := io.ReadAll(client)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, %v", len(got), len(sent), err)
	}
	all.Wait()
}

func TestTryWriteDoesNotWait(t *testing.T) {
	client, conn := newPairs(t).connect(t)
	sent := make([]byte, 64<<20)
	for i := range sent {
		sent[i] = byte(i / 1000)
	}
	n := 0
	within(t, "a connection that takes no more", func() {
		for last := -1; last != 0 && n < len(sent); n += last {
			last = conn.TryWrite(sent[n:])
		}
	})
	if n == 0 || n == len(sent) {
		t.Fatalf("%d of %d bytes were taken by a connection that nobody reads from", n, len(sent))
	}
	go func() {
		_, _ = conn.Write(sent[n:])
		_ = conn.CloseWrite()
	}()
	if got, err := io.ReadAll(client); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes arrived, %v", len(got), len(sent), err)
	}
	conn.Close()
	if n := conn.TryWrite(sent); n != 0 {
		t.Errorf("a closed connection took %d bytes", n)
	}
}

func TestADeadlineEndsAReadButNotTheConnection(t *testing.T) {
	client, conn := newPairs(t).connect(t)
	piece := make([]byte, 100)
	for i := range 50 {
		read := make(chan error, 1)
		go func() {
			_, err := conn.Read(piece)
			read <- err
		}()
		_ = conn.SetReadDeadline(time.Unix(1, 0))
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("read %d ended with %v", i, err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, _ = client.Write([]byte("hello"))
		if n, err := conn.Read(piece); err != nil || string(piece[:n]) != "hello" {
			t.Fatalf("read %q, %v after a deadline", piece[:n], err)
		}
	}
}

func TestClosingEndsARead(t *testing.T) {
	p := newPairs(t)
	for range 50 {
		client, conn := p.connect(t)
		_, _ = client.Write([]byte("x"))
		piece := make([]byte, 100)
		_, _ = conn.Read(piece)
		go func() { _ = conn.Close() }()
		within(t, "a read of a closed connection", func() {
			if _, err := conn.Read(piece); !errors.Is(err, net.ErrClosed) {
				t.Errorf("it ended with %v", err)
			}
		})
		conn.Release()
		if _, err := client.Read(piece); !errors.Is(err, io.EOF) {
			t.Fatalf("the client hears of the end: %v", err)
		}
	}
}

// A connection whose next request is for another reader is handed on, whatever has
// happened to it by then.
func TestAReleasedConnectionReadsLikeAnyOther(t *testing.T) {
	p := newPairs(t)
	for range 200 {
		client, accepted := p.open(t)
		conn := socket.New(accepted, p.hangups)
		piece := make([]byte, 100)
		_, _ = client.Write([]byte("mine"))
		_, _ = conn.Read(piece)
		go func() {
			_, _ = client.Write([]byte("yours"))
			_ = client.CloseWrite()
		}()
		conn.Release()
		within(t, "the rest", func() {
			if got, err := io.ReadAll(accepted); err != nil || string(got) != "yours" {
				t.Errorf("after Release: %q, %v", got, err)
			}
		})
		accepted.Close()
		client.Close()
	}
}

func TestWhatHasNoSocketIsReadAsItIs(t *testing.T) {
	p := newPairs(t)
	far, near := net.Pipe()
	conn := socket.New(near, p.hangups)
	go func() {
		_, _ = far.Write([]byte("hello"))
		far.Close()
	}()
	if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
		t.Errorf("read %q, %v", got, err)
	}
	if n := conn.TryWrite([]byte("x")); n != 0 {
		t.Errorf("%d bytes were written without waiting to what has no socket", n)
	}
	conn.Release()
	conn.Close()
}

func TestWithoutHangupsReadingGoesOn(t *testing.T) {
	p := newPairs(t)
	client, accepted := p.open(t)
	closed, err := socket.NewHangups()
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	conn := socket.New(accepted, closed)
	go func() {
		_, _ = client.Write([]byte("hello"))
		client.Close()
	}()
	within(t, "the end", func() {
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
	})
	conn.Release()
}

// A plain Conn does by itself what the system lets it, and hears of the end by reading.
func TestAPlainConnLeavesAllToPackageNet(t *testing.T) {
	p := newPairs(t)
	client, accepted := p.open(t)
	conn := socket.Plain(accepted)
	if n := conn.TryWrite([]byte("hello")); n != 0 {
		t.Errorf("it wrote %d bytes past package net", n)
	}
	if _, err := conn.SyscallConn(); err != nil {
		t.Errorf("the socket itself: %v", err)
	}
	go func() {
		_, _ = client.Write([]byte("hello"))
		client.Close()
	}()
	within(t, "the end", func() {
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
	})
	conn.Release()
}

// What a request costs: a client that waits for its answer.
func BenchmarkEcho(b *testing.B) {
	for name, wrap := range map[string]func(net.Conn, *socket.Hangups) (io.Reader, func([]byte)){
		"conn": func(c net.Conn, h *socket.Hangups) (io.Reader, func([]byte)) {
			s := socket.New(c, h)
			return s, func(p []byte) { s.TryWrite(p) }
		},
		"net": func(c net.Conn, _ *socket.Hangups) (io.Reader, func([]byte)) {
			return c, func(p []byte) { _, _ = c.Write(p) }
		},
	} {
		b.Run(name, func(b *testing.B) {
			p := newPairs(b)
			client, accepted := p.open(b)
			r, write := wrap(accepted, p.hangups)
			go func() {
				piece := make([]byte, 4096)
				for {
					n, err := r.Read(piece)
					if err != nil {
						return
					}
					write(piece[:n])
				}
			}()
			piece := make([]byte, 128)
			_ = client.SetDeadline(time.Time{})
			for b.Loop() {
				_, _ = client.Write(piece)
				_, _ = io.ReadFull(client, piece)
			}
		})
	}
}
