package webui_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/rushmore/zbus-go/internal/access"
	"github.com/rushmore/zbus-go/internal/storage"
)

// The console decides by itself which controls it offers. One file of vectors holds its
// reading of grants and the broker's together.
func TestBrokerReadsGrantsAsTheConsoleDoes(t *testing.T) {
	content, err := os.ReadFile("tests/grant_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Account string   `json:"account"`
		Covers  [][5]any `json:"covers"`
		Invalid []string `json:"invalid"`
	}
	if err := json.Unmarshal(content, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Covers) < 40 || len(vectors.Invalid) < 15 {
		t.Fatalf("%d and %d vectors", len(vectors.Covers), len(vectors.Invalid))
	}
	for _, v := range vectors.Covers {
		grant, verb, topic, group, want := v[0].(string), v[1].(string), v[2].(string), v[3].(string), v[4].(bool)
		if err := access.CheckGrants([]string{grant}); err != nil {
			t.Errorf("grant %q: %v", grant, err)
		}
		got, err := registry(t, vectors.Account, grant).Explain(vectors.Account, verbOf(t, verb), topic, group)
		if err != nil || got.Allowed != want {
			t.Errorf("grant %q, %s %s/%s: %t (%v), want %t", grant, verb, topic, group, got.Allowed, err, want)
		}
	}
	for _, grant := range vectors.Invalid {
		if access.CheckGrants([]string{grant}) == nil {
			t.Errorf("grant %q is taken", grant)
		}
	}
}

// registry has one account with one grant.
func registry(t *testing.T, account, grant string) *access.Registry {
	t.Helper()
	value, err := json.Marshal(access.Account{Name: account, Kind: access.Program, Grants: []string{grant}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := access.New(access.Options{Mode: access.On, Documents: []storage.Document{{Kind: "account", Name: account, Value: string(value)}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func verbOf(t *testing.T, name string) access.Verb {
	t.Helper()
	if name == "see" {
		return access.See
	}
	v, ok := access.ParseVerb(name)
	if !ok {
		t.Fatalf("no verb %q", name)
	}
	return v
}
