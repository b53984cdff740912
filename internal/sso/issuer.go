package sso

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/condition"
	"github.com/rushmore/zbus-go/internal/storage"
)

// Options are what an Issuer needs.
type Options struct {
	URL string // of the issuer, as it calls itself
	// Name ends the names of all its accounts, after an @. "": they are what it says, and end as those of none
	// of Others.
	Name   string
	Others []string

	// ClientID is this broker's name with the issuer, for sign-on with a browser; "": there is none.
	ClientID string
	// Secret is that of the client, asked for with each sign-on; "" for a client without one. Nil: as "".
	Secret func() (string, error)
	Scopes []string // besides openid

	// Audiences are those of which a token of a program has to have one. None: no token is accepted.
	Audiences []string

	NameClaim   string              // has the name of the account
	GroupsClaim string              // has the groups
	GrantsClaim string              // has the grants of a program; "": there are none
	Roles       map[string][]string // by group, of who has no account

	Conditions *condition.Board
	Log        *slog.Logger
	Now        func() time.Time // the wall clock
}

// Issuer is one that is trusted. Its methods may be called by any number of goroutines; Run by one.
type Issuer struct {
	opts    Options
	client  *http.Client
	known   atomic.Pointer[known]
	pending pending
	want    chan struct{} // capacity 1: a sign-on waits for keys

	mu    sync.Mutex
	asked time.Time     // guarded by mu; monotonic: when it was asked last
	busy  bool          // guarded by mu; it is being asked, or will be at once
	round chan struct{} // guarded by mu; closed when it was asked
}

// known is what the issuer has told. It is never changed.
type known struct {
	provider *oidc.Provider
	endpoint oauth2.Endpoint
	keysURL  string
	logout   *url.URL // the page on which it ends its login; nil: there is none
	says     bool     // it says who it is when it sends a browser back
	keys     []jose.JSONWebKey
}

// How often the issuer is asked for its keys.
const (
	keysTime  = 10 * time.Minute // while nothing is missing
	keysPause = 10 * time.Second // when tokens name keys that are not known
	firstWait = time.Second      // after a failure; doubled with each
	mostWait  = time.Minute
)

// New creates an Issuer, and sends no request yet.
func New(opts Options) *Issuer {
	i := &Issuer{opts: opts, client: newClient(), want: make(chan struct{}, 1), round: make(chan struct{})}
	i.pending.init()
	return i
}

// Roles are all that groups can give.
func (i *Issuer) Roles() (list []string) {
	for _, roles := range i.opts.Roles {
		list = append(list, roles...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// Run learns what the issuer says of itself, and keeps that fresh, until ctx ends.
func (i *Issuer) Run(ctx context.Context) {
	defer i.client.CloseIdleConnections()
	wait := firstWait
	for {
		i.begin()
		err := i.ask(ctx)
		next := keysTime
		if err != nil && ctx.Err() == nil {
			i.opts.Conditions.Raise(condition.Condition{
				Kind: "sso", Subject: i.opts.Name, Severity: condition.Warning,
				Text: fmt.Sprintf("the issuer %s does not answer as it should: %s", i.opts.URL, clip(err.Error(), 300)),
			})
			next, wait = wait, min(2*wait, mostWait)
		} else {
			i.opts.Conditions.Clear("sso", i.opts.Name)
			wait = firstWait
		}
		i.end()
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-i.want:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (i *Issuer) begin() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy, i.asked = true, time.Now()
}

func (i *Issuer) end() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.busy = false
	close(i.round)
	i.round = make(chan struct{})
}

// askAgain has the issuer asked for keys, unless that was done just now, and waits for that.
func (i *Issuer) askAgain(ctx context.Context) {
	i.mu.Lock()
	if !i.busy {
		if time.Since(i.asked) < keysPause {
			i.mu.Unlock()
			return
		}
		i.busy, i.asked = true, time.Now()
		i.want <- struct{}{} // there is room: Run took the last one before it ended the round
	}
	round := i.round
	i.mu.Unlock()
	timer := time.NewTimer(answerTime / 2)
	defer timer.Stop()
	select {
	case <-round:
	case <-ctx.Done():
	case <-timer.C:
	}
}

// ask learns what the issuer says of itself, and its keys.
func (i *Issuer) ask(ctx context.Context) error {
	if old := i.known.Load(); old != nil {
		k := *old
		if err := i.learnKeys(ctx, &k); err == nil {
			return nil
		} // they may be elsewhere now
	}
	k := known{}
	if err := i.discover(ctx, &k); err != nil {
		return err
	}
	return i.learnKeys(ctx, &k)
}

func (i *Issuer) learnKeys(ctx context.Context, k *known) (err error) {
	if k.keys, err = i.fetchKeys(ctx, k.keysURL); err != nil {
		return fmt.Errorf("its keys: %w", err)
	}
	i.known.Store(k)
	return nil
}

// discover reads the description of the issuer.
func (i *Issuer) discover(ctx context.Context, k *known) (err error) {
	if k.provider, err = oidc.NewProvider(oidc.ClientContext(ctx, i.client), i.opts.URL); err != nil {
		return err
	}
	var more struct {
		Keys    string   `json:"jwks_uri"`
		Methods []string `json:"token_endpoint_auth_methods_supported"`
		Logout  string   `json:"end_session_endpoint"`
		Says    bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := k.provider.Claims(&more); err != nil {
		return err
	}
	k.keysURL, k.endpoint, k.says = more.Keys, k.provider.Endpoint(), more.Says
	if CheckURL(more.Logout) == nil { // one that nobody should be sent to is as none
		k.logout, _ = url.Parse(more.Logout)
	}
	// Which one it takes is not tried out: a code is good once.
	k.endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if i.opts.Secret == nil || len(more.Methods) > 0 && !slices.Contains(more.Methods, "client_secret_basic") {
		k.endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	urls := []string{k.keysURL}
	if i.opts.ClientID != "" {
		urls = append(urls, k.endpoint.AuthURL, k.endpoint.TokenURL)
	}
	for _, u := range urls {
		if err := CheckURL(u); err != nil {
			return fmt.Errorf("its URL %q %w", clip(u, 200), err)
		}
	}
	return nil
}

// silent is the error while the issuer has not answered yet.
func (i *Issuer) silent() error {
	return &access.Error{Text: "the issuer " + i.opts.URL + " does not answer: who signs on with it can't be checked now", Err: storage.ErrUnavailable}
}

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
