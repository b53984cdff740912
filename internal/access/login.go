package access

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"
)

// How long a login of the console lasts.
const (
	LoginTime = 12 * time.Hour
	IdleTime  = 30 * time.Minute
	maxLogins = 10_000
	ofAccount = 50 // logins at a time
)

// logins are those of people to the console. They end with the process.
type logins struct {
	mu    sync.Mutex
	open  map[string]*login // guarded by mu; by the hash of the secret
	since func() time.Duration
}

type login struct {
	account     string
	signed      *signed // what the issuer says, if it was begun with that
	began, used time.Duration
}

func (l *logins) init() {
	l.open = map[string]*login{}
	began := time.Now()
	l.since = func() time.Duration { return time.Since(began) }
}

func loginKey(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// begin makes a login, and gives its secret. The oldest of the account goes when it has
// too many.
func (l *logins) begin(account string, by *signed) string {
	secret := newSecret()
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.since()
	l.sweep(now)
	oldest, n := "", 0
	for key, x := range l.open {
		if x.account == account {
			n++
			if oldest == "" || x.used < l.open[oldest].used {
				oldest = key
			}
		}
	}
	if n >= ofAccount {
		delete(l.open, oldest)
	}
	if len(l.open) < maxLogins {
		l.open[loginKey(secret)] = &login{account: account, signed: by, began: now, used: now}
	}
	return secret
}

// find gives the login with a secret, and notes that it was used.
func (l *logins) find(secret string) (key string, x login, ok bool) {
	key = loginKey(secret)
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.since()
	at := l.open[key]
	if at == nil || at.over(now) {
		delete(l.open, key)
		return "", login{}, false
	}
	at.used = now
	return key, *at, true
}

// alive reports whether a login holds still.
func (l *logins) alive(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.open[key]
	return x != nil && !x.over(l.since())
}

// touch notes that a page of the login is open and shows what happens.
func (l *logins) touch(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.open[key]; x != nil {
		x.used = l.since()
	}
}

// end ends those that a func chooses.
func (l *logins) end(which func(key string, x *login) bool) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, x := range l.open {
		if which(key, x) {
			delete(l.open, key)
			n++
		}
	}
	return n
}

func (l *logins) sweep(now time.Duration) (n int) {
	for key, x := range l.open {
		if x.over(now) {
			delete(l.open, key)
			n++
		}
	}
	return n
}

func (x *login) over(now time.Duration) bool {
	return now-x.began >= LoginTime || now-x.used >= IdleTime
}
