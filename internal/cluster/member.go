package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rushmore/zbus-go/internal/wire"
)

// retries are the pauses before a lost connection is opened again; the last one counts for
// all later ones.
var retries = []time.Duration{200 * time.Millisecond, time.Second, 3 * time.Second}

// How long a server is remembered that can't be reached: one that never could, and one that
// was listed.
const (
	strangerTime = 10 * time.Second
	memberTime   = 10 * time.Minute
)

// errOther is what an address says for which the server that named it does not answer.
var errOther = errors.New("another server has this address, or it was started again")

// member is a server that has joined this one. It has a goroutine, which keeps the connection
// back.
type member struct {
	address Address
	proof   string // the secret that the server answers for
	local   bool   // it is, or may be, on this machine
	cancel  context.CancelFunc
	tried   chan struct{} // closed after the first attempt to connect back

	// Guarded by Cluster.mu.
	info        *Info
	certificate string // PEM; "" without TLS
	up          bool   // it is listed: the connection back lasts
	proved      bool   // it has been up
	since       time.Time
	heard       time.Time
	figures     told
	err         error // why it is not up
}

// run connects back to a server again and again, until it has been unreachable for too long.
func (c *Cluster) run(ctx context.Context, m *member) {
	defer c.forget(m)
	for n := 0; ; n++ {
		up, err := c.watch(ctx, m)
		if up {
			n = 0
		}
		if !c.lost(m, err) || !pause(ctx, retries[min(n, len(retries)-1)], nil) {
			return
		}
	}
}

// pause waits, and reports false when ctx ends. kick ends it early.
func pause(ctx context.Context, d time.Duration, kick <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-kick:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch has a server listed for as long as a connection to it lasts, and returns why that has
// ended.
func (c *Cluster) watch(ctx context.Context, m *member) (up bool, err error) {
	secrets, err := c.pinned(m)
	if err != nil {
		return false, err
	}
	conn, err := dial(ctx, m.address, secrets, m.local, replyLimits)
	if err != nil {
		return false, err
	}
	defer conn.close()
	answer, err := probe(ctx, conn, dialTime, m.proof, "", false)
	if err != nil {
		return false, err
	}
	if !answer.Proved || answer.ServerAddress.Address != m.address.Address {
		return false, errOther
	}
	c.told(m, answer)
	if !c.arrived(m) {
		return false, context.Canceled
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return true, ctx.Err()
		case _, ok := <-conn.answers:
			if !ok {
				return true, conn.err
			}
		case <-tick.C:
			if answer, err = probe(ctx, conn, answerTime, m.proof, "", false); err != nil {
				return true, err
			}
			if !answer.Proved {
				return true, errOther
			}
			c.told(m, answer)
		}
	}
}

// told takes what a server tells with each heartbeat.
func (c *Cluster) told(m *member, answer *probed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m.heard = time.Now()
	m.figures = told{answer.Figures.sound(), m.heard}
}

// probe asks a server who it is and what it does, and with others the same of those that it knows.
func probe(ctx context.Context, conn *conn, limit time.Duration, proof, token string, others bool) (*probed, error) {
	fields := append(command(wire.CmdTrackProbe), wire.Field{Name: wire.HeaderProof, Value: proof})
	if others {
		fields = append(fields, wire.Field{Name: wire.HeaderScope, Value: "all"})
	}
	if token != "" {
		fields = append(fields, wire.Field{Name: wire.HeaderToken, Value: token})
	}
	m, err := conn.ask(ctx, limit, fields)
	if err != nil {
		return nil, err
	}
	answer := new(probed)
	if err := json.Unmarshal(m.Body, answer); err != nil {
		return nil, fmt.Errorf("its answer is not that of a server: %w", err)
	}
	return answer, nil
}

// pinned is what a TLS connection back goes by: the certificate that the server has told.
func (c *Cluster) pinned(m *member) (*tls.Config, error) {
	if !m.address.SSLEnabled {
		return nil, nil
	}
	c.mu.Lock()
	text := m.certificate
	c.mu.Unlock()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(text)) {
		return nil, errors.New("it has told no certificate")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
