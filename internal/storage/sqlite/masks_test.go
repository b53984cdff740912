package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage"
)

// In rows of older schemas, masks say what topics and groups are. The first start brings them
// up to date, and notices a mask that is damaged. masks5 was written by the last build that
// had no columns for the fields: its clients declared all masks there are.
func TestMasksOfOlderRowsBecomeFields(t *testing.T) {
	topics := map[string]storage.Topic{
		"log":      {Kind: storage.KindLog},
		"unknown":  {Kind: storage.KindLog, LegacyMask: 1 << 20},
		"memory":   {Kind: storage.KindMemory, LegacyMask: 1},
		"rpc":      {Kind: storage.KindRPC, LegacyMask: 2},
		"both":     {Kind: storage.KindRPC, LegacyMask: 3},
		"proxy":    {Kind: storage.KindProxy, LegacyMask: 4},
		"all":      {Kind: storage.KindProxy, LegacyMask: 7},
		"answered": {Kind: storage.KindLog, LegacyMask: 2, Replies: true}, // declared as a log first
	}
	groups := map[string]storage.Group{
		"g0":       {},
		"g2":       {LegacyMask: 2},
		"g8":       {LegacyMask: 8, Paused: true},
		"g16":      {LegacyMask: 16, Exclusive: true},
		"g32":      {LegacyMask: 32, Ephemeral: true},
		"g64":      {LegacyMask: 64, Settle: storage.SettleExplicit},
		"g104":     {LegacyMask: 104, Settle: storage.SettleExplicit, Ephemeral: true, Paused: true},
		"g120":     {LegacyMask: 120, Settle: storage.SettleExplicit, Ephemeral: true, Paused: true, Exclusive: true},
		"g1048640": {LegacyMask: 1<<20 + 64, Settle: storage.SettleExplicit},
	}
	path := unpack(t, "testdata/masks5.db.gz")
	for range 2 { // the second start finds columns
		state := loadOnce(t, path)
		for _, n := range state.Topics {
			want := topics[n.Name]
			if n.Kind != want.Kind || n.Replies != want.Replies || n.LegacyMask != want.LegacyMask || n.Damage != "" {
				t.Errorf("topic %+v, want %+v", n, want)
			}
		}
		for _, n := range state.Groups {
			want := groups[n.Name]
			if !sameFields(&n, &want) {
				t.Errorf("group %+v, want %+v", n, want)
			}
		}
		if len(state.Topics) != len(topics) || len(state.Groups) != len(topics)+len(groups) {
			t.Errorf("%d topics and %d groups", len(state.Topics), len(state.Groups))
		}
	}
	s := mustOpen(t, Options{Path: path})
	if n, err := s.writer.value("SELECT (SELECT count(*) FROM topics WHERE kind IS NULL) + (SELECT count(*) FROM groups WHERE settle IS NULL)"); err != nil || integer(n) != 0 {
		t.Errorf("%v rows have no columns, %v", n, err)
	}
	run(t, s, "UPDATE topics SET kind = NULL, mask = 4 WHERE name = 'rpc'")
	run(t, s, "UPDATE topics SET kind = 'lot' WHERE name = 'unknown'")
	run(t, s, "UPDATE topics SET replies = 1 WHERE name = 'memory'")
	run(t, s, "UPDATE groups SET exclusive = 1 WHERE name = 'proxy'")
	run(t, s, "UPDATE groups SET settle = 'manual' WHERE name = 'all'")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	damaged := map[string]bool{"rpc": true, "unknown": true, "memory": true, "proxy": true, "all": true}
	for _, n := range loadOnce(t, path).Topics {
		if damaged[n.Name] != (n.Damage != "") {
			t.Errorf("topic %s: damage %q", n.Name, n.Damage)
		}
	}
}

// A flipped bit of a mask in a row of an older schema is found by the start that would
// otherwise derive the fields from it.
func TestDamagedMaskOfAnOlderRowIsNoticed(t *testing.T) {
	path := unpack(t, "testdata/masks5.db.gz")
	c, err := connect("file:" + path)
	if err != nil {
		t.Fatal(err)
	}
	err = c.run("UPDATE topics SET mask = 4 WHERE name = 'rpc'; UPDATE groups SET mask = 64 WHERE name = 'g32'")
	if err != nil || c.close() != nil {
		t.Fatal(err)
	}
	for range 2 { // also by the second: the first has not summed what is damaged
		for _, n := range loadOnce(t, path).Topics {
			if bad := n.Name == "rpc" || n.Name == "log"; bad != (n.Damage != "") {
				t.Errorf("topic %s: damage %q", n.Name, n.Damage)
			}
		}
	}
}

// A damaged row of an older schema is accepted with what its mask says, once and for all.
func TestDamagedRowWithAMaskIsAccepted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	mustCommit(t, s, &storage.CreateTopic{Topic: &storage.Topic{Name: "calls", LegacyMask: 2}})
	run(t, s, "UPDATE topics SET kind = NULL, replies = NULL, memory = 1, definition_sum = 1")
	for _, damaged := range []bool{true, false, false} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s = mustOpen(t, Options{Path: path})
		state, err := s.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := state.Topics[0]
		if n.Kind != storage.KindRPC || damaged != (n.Damage != "") {
			t.Fatalf("topic is %+v, damaged has to be %t", n, damaged)
		}
		if damaged {
			n.Damage = ""
			mustCommit(t, s, &storage.Accept{Topic: &n})
		}
	}
}

// sameFields reports whether two groups have the same of what was a mask.
func sameFields(x, y *storage.Group) bool {
	return x.Settle == y.Settle && x.Paused == y.Paused && x.Exclusive == y.Exclusive && x.Ephemeral == y.Ephemeral && x.LegacyMask == y.LegacyMask
}

// loadOnce starts, loads what there is, and stops.
func loadOnce(t *testing.T, path string) *storage.State {
	t.Helper()
	s := mustOpen(t, Options{Path: path})
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return &state
}

// run runs SQL on the connection that writes.
func run(t *testing.T, s *Store, sql string) {
	t.Helper()
	if err := s.writer.run(sql); err != nil {
		t.Fatal(err)
	}
}
