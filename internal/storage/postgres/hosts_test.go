package postgres

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/certtest"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// authority writes a certificate for an address that is its own authority.
func authority(t *testing.T, address string) (cert, key string) {
	t.Helper()
	return certtest.Write(t, t.TempDir(), certtest.Sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.ParseIP(address)},
	}, nil))
}

func TestServerIsReachedOverTLSAndKnownByItsCertificate(t *testing.T) {
	c := pgtest.Start(t)
	name := pgtest.Name(c.Database(t))
	address := fmt.Sprintf("127.%d.%d.%d", 1+rand.IntN(250), rand.IntN(250), 1+rand.IntN(250))
	cert, key := authority(t, address)
	c.Secure(t, address, cert, key)
	url := "postgres://zbus@" + address + "/" + name
	s := mustOpen(t, Options{URL: url + "?sslmode=verify-full&sslrootcert=" + cert})
	if errs, err := s.Commit([]storage.Op{&storage.CreateTopic{Topic: &storage.Topic{Name: "t"}}}); err != nil || errs[0] != nil {
		t.Fatal(errs, err)
	}
	if st, err := s.Status(context.Background()); err != nil || st.Primary != address+":5432" {
		t.Errorf("status: %+v, %v", st, err)
	}
	if f := grades(t, url+"?sslmode=verify-full&sslrootcert="+cert)["encryption"]; f.Grade != Good {
		t.Errorf("encryption: %+v", f)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other, _ := authority(t, address)
	for _, query := range []string{"?sslmode=verify-full&sslrootcert=" + other, "?sslmode=disable"} {
		if s, err := Open(context.Background(), Options{URL: url + query}); !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v, %v", query, s, err)
		}
	}
}

// following is a rig whose store knows a standby, named first.
func following(t *testing.T, synchronous bool) (r *rig, standby *pgtest.Cluster) {
	t.Helper()
	c := pgtest.Start(t)
	r = newRig(t, c, Options{})
	standby = c.Standby(t, "s1")
	if synchronous {
		c.Synchronous(t, "s1")
		until(t, "commits are replicated", func() bool { return r.append("first") == nil && r.Replicated() })
	}
	name := pgtest.Name(r.url)
	d, err := newDialer(standby.URL(name, c), false)
	if err != nil {
		t.Fatal(err)
	}
	r.dialer, r.url = d, standby.URL(name)
	return r, standby
}

func TestOfSeveralHostsTheOneThatTakesWritesIsUsed(t *testing.T) {
	r, standby := following(t, false)
	name := pgtest.Name(r.url)
	if err := r.Store.Close(); err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, Options{URL: standby.URL(name, r.c)})
	if st, err := s.Status(context.Background()); err != nil || "unix:"+r.c.Socket() != st.Primary || len(st.Standbys) != 1 || st.Standbys[0].Name != "s1" {
		t.Errorf("status: %+v, %v", st, err)
	}
	if _, err := s.Commit([]storage.Op{&storage.Audit{Entry: &storage.AuditEntry{Action: "a"}}}); err != nil {
		t.Fatal(err)
	}
}

// The primary is lost in the middle of commits, and a synchronous standby takes its place.
func TestLossOfThePrimaryLosesNothingThatWasAnswered(t *testing.T) {
	answered := 0
	for range faultreport.ScaleAlways(t, 1, 10) {
		r, standby := following(t, true)
		r.options.Patience = 5 * time.Minute
		stop, done, ids := make(chan struct{}), make(chan error, 1), []string(nil)
		started := make(chan struct{}, 1<<20)
		go func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				id := fmt.Sprint("m", n)
				switch err := r.append(id); {
				case err == nil:
					ids = append(ids, id)
					started <- struct{}{}
				case errors.Is(err, storage.ErrNotStored):
				default:
					done <- err
					return
				}
			}
		}()
		wait := func(n int) {
			t.Helper()
			for range n {
				select {
				case <-started:
				case err := <-done:
					t.Fatalf("commit: %v", err)
				case <-time.After(2 * time.Minute):
					t.Fatal("nothing is stored for two minutes")
				}
			}
		}
		wait(20 + rand.IntN(50))
		r.c.Stop()
		standby.Promote(t)
		for len(started) > 0 {
			<-started
		}
		wait(20)
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		answered += len(ids)
		got := slices.DeleteFunc(r.ids(), func(id string) bool { return id == "first" })
		// One that was not answered may be there, but each only once and all in their order.
		for _, id := range ids {
			i := slices.Index(got, id)
			if i < 0 {
				t.Fatalf("%s was answered, and is lost: %v", id, got)
			}
			got = got[i+1:]
			if slices.Contains(got, id) {
				t.Fatalf("%s is there twice", id)
			}
		}
	}
	t.Logf("%d messages answered, none lost", answered)
}

// Without a synchronous standby the same loses messages: the store says so, and stops.
func TestLossOfThePrimaryWithoutASynchronousStandbyIsNoticed(t *testing.T) {
	r, standby := following(t, false)
	if err := r.append("a"); err != nil {
		t.Fatal(err)
	}
	until(t, "the standby has it", func() bool {
		return standby.SQL(t, pgtest.Name(r.url), "SELECT count(*) FROM blocks") == "1\n"
	})
	standby.Stop()
	if err := r.append("b"); err != nil {
		t.Fatal(err)
	}
	r.c.Stop()
	standby.Go(t)
	standby.Promote(t)
	err := r.append("c")
	for errors.Is(err, storage.ErrNotStored) {
		err = r.append("c")
	}
	if !errors.Is(err, errLost) {
		t.Fatalf("commit: %v", err)
	}
	r.has("a")
}
