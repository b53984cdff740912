package access

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// fastest has things done in turns, and fails unless the shortest times that they took become about
// the same: other work on the machine makes single ones longer, and none shorter.
func fastest(t *testing.T, within float64, things map[string]func(turn int)) {
	t.Helper()
	const least, most = 7, 400
	shortest := map[string]time.Duration{}
	for name := range things {
		shortest[name] = math.MaxInt64
	}
	for turn := range most {
		for name, f := range things {
			began := time.Now()
			f(turn)
			shortest[name] = min(shortest[name], time.Since(began))
		}
		var low, high time.Duration = math.MaxInt64, 0
		for _, took := range shortest {
			low, high = min(low, took), max(high, took)
		}
		ratio := float64(high) / float64(low)
		switch over := high > 10*low && turn >= 20; { // no accident
		case turn >= least && ratio < within:
			t.Logf("after %d turns: %v", turn+1, shortest)
			return
		case over || turn == most-1:
			t.Fatalf("after %d turns one can be told from another: %v", turn+1, shortest)
		}
	}
}

// How long a refusal takes does not say what was wrong: the account, its password, or that it has none.
func TestPasswordsAreRefusedInTheSameTime(t *testing.T) {
	r := newRig(t)
	r.add("root", []string{"admin"})
	r.add("program", nil)
	for _, name := range []string{"ann", "off"} {
		r.ok(r.AddAccount(t.Context(), boss, Account{Name: name}, "a good password"))
	}
	r.ok(r.AlterAccount(t.Context(), boss, "off", func(a *Account) { a.Disabled = true }, nil))
	things := map[string]func(int){}
	for _, name := range []string{"ann", "nobody", "off", "program"} {
		things[name] = func(turn int) {
			address := fmt.Sprintf("10.0.%d.%d", turn/200, turn%200) // which has not guessed before
			_, err := r.Authenticate(t.Context(), Credential{Account: name, Password: "a bad password", Address: address})
			if err == nil || err.Error() != badCredential {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	fastest(t, 1.5, things)
}

// Nor of a token: its id, or its secret.
func TestTokensAreRefusedInTheSameTime(t *testing.T) {
	r := newRig(t)
	r.add("root", []string{"admin"})
	id, _ := r.token("root")
	things := map[string]func(int){}
	for name, id := range map[string]string{"wrong secret": id, "unknown id": "aaaaaaaa"} {
		c := Credential{Token: tokenPrefix + id + "_" + strings.Repeat("b", 180)} // the longer, the more there is to see
		things[name] = func(int) {
			for range 500 {
				if _, err := r.Authenticate(t.Context(), c); err == nil {
					t.Fatal("let in")
				}
			}
		}
	}
	fastest(t, 1.2, things)
}
