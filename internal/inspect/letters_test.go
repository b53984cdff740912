package inspect

import (
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/storage"
)

func TestCausesThatDifferInNumbersAndIdsHaveOnePattern(t *testing.T) {
	for cause, want := range map[string]string{
		"": "", "connection lost": "connection lost", "HTTP 503": "HTTP #", "order 17 of 204 failed": "order # of # failed",
		"no user 0b1ea91f-77c0-4e1b-9a55-0c2d0f1e2a3b": "no user #", "timeout after 30s": "timeout after #s",
		`unknown field "price"`: "unknown field “…”", "it's late": "it's late", "zu spät: 5": "zu spät: #",
		"utf8 error": "utf# error", "10.0.0.7:9000 refused": "#.#.#.#:# refused", "a–b": "a–b",
	} {
		if got := CausePattern(cause); got != want {
			t.Errorf("%q: pattern %q, want %q", cause, got, want)
		}
	}
	if got := CausePattern(strings.Repeat("long ", 200)); len(got) > 2*maxPattern {
		t.Errorf("a pattern of %d bytes", len(got))
	}
}

func TestKindsAreCountedTheMostFirst(t *testing.T) {
	var k Kinds
	for i, from := range []broker.Origin{
		{Group: "ship", Cause: "HTTP 503"},
		{Group: "bill", Cause: "HTTP 503"},
		{Group: "Ship", Cause: "HTTP 502"},
	} {
		k.Add(&storage.Record{Offset: int64(i), Time: int64(100 + i)}, &from)
	}
	top := k.Top(10)
	if len(top) != 2 {
		t.Fatalf("%d kinds: %+v", len(top), top)
	}
	want := LetterKind{ID: top[0].ID, Group: "ship", Cause: "HTTP #", Example: "HTTP 502", Letters: 2, Last: 2, FirstTime: 100, LastTime: 102}
	if top[0] != want || top[0].ID == top[1].ID || top[1].Letters != 1 {
		t.Errorf("kinds %+v", top)
	}
	if id := KindOf(&broker.Origin{Group: "SHIP", Cause: "HTTP 418"}); id != want.ID {
		t.Errorf("a letter of the same kind has %q, want %q", id, want.ID)
	}
	for range maxKinds {
		k.Add(&storage.Record{}, &broker.Origin{Group: strings.Repeat("g", len(k.byID))})
	}
	if n := len(k.Top(10_000)); n != maxKinds {
		t.Errorf("%d kinds are told apart", n)
	}
}

func FuzzCausePattern(f *testing.F) {
	f.Add("order 17: \"x\" é 0b1ea91f")
	f.Fuzz(func(t *testing.T, cause string) {
		pattern := CausePattern(cause)
		if len(pattern) > maxPattern+len(cause) {
			t.Errorf("%q: pattern of %d bytes", cause, len(pattern))
		}
		for i := range len(pattern) {
			if digit(pattern[i]) {
				t.Errorf("%q: pattern %q has a digit", cause, pattern)
			}
		}
	})
}
