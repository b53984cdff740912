package pgtest

import "testing"

func TestNewestServerIsTheOneOfTheHighestVersion(t *testing.T) {
	old, now := "/usr/lib/postgresql/9.6/bin/initdb", "/usr/lib/postgresql/15/bin/initdb"
	if release(old) >= release(now) || release(now) != 15 {
		t.Errorf("releases %v and %v", release(old), release(now))
	}
}
