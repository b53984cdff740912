package condition

import (
	"bytes"
	"log/slog"
	"strconv"
	"strings"
	"testing"
)

func newBoard() (*Board, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return New(slog.New(slog.NewTextHandler(out, nil))), out
}

func lines(out *bytes.Buffer) int { return strings.Count(out.String(), "\n") }

func TestRaiseReplacesByKindAndSubjectAndKeepsSince(t *testing.T) {
	b, _ := newBoard()
	b.Raise(Condition{Kind: "disk", Severity: Warning, Text: "little room"})
	since := b.List()[0].Since
	if since.IsZero() {
		t.Fatal("Since is not set")
	}
	b.Raise(Condition{Kind: "disk", Severity: Critical, NotReady: true, Text: "no room"})
	b.Raise(Condition{Kind: "damage", Subject: "orders", Severity: Warning, Text: "a gap"})
	all := b.List()
	if len(all) != 2 || all[0].Text != "no room" || all[1].Subject != "orders" {
		t.Fatalf("got %+v, want the critical one first and one of each", all)
	}
	if !all[0].Since.Equal(since) {
		t.Errorf("Since moved from %v to %v", since, all[0].Since)
	}
}

func TestOnlyChangesAreLogged(t *testing.T) {
	b, out := newBoard()
	for range 3 {
		b.Raise(Condition{Kind: "disk", Severity: Warning, Text: "little room"})
	}
	if lines(out) != 1 {
		t.Errorf("raised three times: %d lines, want 1:\n%s", lines(out), out)
	}
	b.Raise(Condition{Kind: "disk", Severity: Critical, Text: "no room"})
	b.Clear("disk", "")
	b.Clear("disk", "")
	if lines(out) != 3 {
		t.Errorf("worse, then over: %d lines, want 3:\n%s", lines(out), out)
	}
	if len(b.List()) != 0 {
		t.Errorf("still %+v", b.List())
	}
}

func TestSubjectsDoNotFillTheMemory(t *testing.T) {
	b, _ := newBoard()
	for i := range 2 * maxConditions {
		b.Raise(Condition{Kind: "damage", Subject: strconv.Itoa(i), Severity: Warning})
	}
	if n := len(b.List()); n != maxConditions {
		t.Errorf("%d conditions are held, want %d", n, maxConditions)
	}
}

func TestNilBoardTakesEverything(t *testing.T) {
	var b *Board
	b.Raise(Condition{Kind: "disk"})
	b.Clear("disk", "")
	if b.List() != nil {
		t.Error("a nil Board holds something")
	}
}
