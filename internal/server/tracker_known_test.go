package server

import "testing"

// Followers that came at different times are told the same from then on, by one table.
func TestThoseWhoWereToldTheSameShareOne(t *testing.T) {
	tracker := &tracker{}
	tables := &tables{tracker: tracker}
	_, first := tables.all()
	if _, again := tables.all(); again != first {
		t.Error("nothing has changed, and what is known is another object")
	}
	tracker.changes.Add(1)
	_, second := tables.all()
	if second == first {
		t.Error("a change is known already")
	}
	if _, again := tables.all(); again != second {
		t.Error("nothing has changed since, and what is known is another object")
	}
}
