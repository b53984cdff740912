package webui_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/rushmore/zbus-go/internal/filter"
)

// The console reads filters by itself while somebody types. One file of vectors
// holds its reading and the broker's together.
func TestBrokerReadsFiltersAsTheConsoleDoes(t *testing.T) {
	content, err := os.ReadFile("tests/filter_vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Matches [][3]any `json:"matches"`
		Invalid []string `json:"invalid"`
	}
	if err := json.Unmarshal(content, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors.Matches) < 50 || len(vectors.Invalid) == 0 {
		t.Fatalf("%d and %d vectors", len(vectors.Matches), len(vectors.Invalid))
	}
	for _, v := range vectors.Matches {
		pattern, tag, want := v[0].(string), v[1].(string), v[2].(bool)
		f, err := filter.Parse(pattern)
		if err != nil {
			t.Errorf("filter %q: %v", pattern, err)
			continue
		}
		if got := f.Match(tag); got != want {
			t.Errorf("filter %q, tag %q: %t, want %t", pattern, tag, got, want)
		}
	}
	for _, pattern := range vectors.Invalid {
		if _, err := filter.Parse(pattern); err == nil {
			t.Errorf("filter %q is taken", pattern)
		}
	}
}
