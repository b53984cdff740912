package crashtest

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rushmore/zbus-go/internal/faultdisk"
	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/wire"
)

// A test that finds nothing proves something only if it would find a fault. So the broker
// is also built with faults in it, and each has to be found. They are in one binary; a
// variable says which one is in force.

const (
	mutantSwitch = "TEST_MUTANT" // not ZBUS_…, which would be a setting
	// mutantRole makes the test binary the process that looks for the fault of a mutant.
	mutantRole = "ZBUS_TEST_MUTANT"
)

// mutant is a fault and who has to find it.
type mutant struct {
	name    string
	finder  string
	finding string // what the finder says of it
	patches []patch
}

// The finders.
const (
	kills    = "kills"
	repeats  = "repeats"
	cuts     = "power cuts"
	compared = "histories"
)

func when(name string) string { return fmt.Sprintf("mutant(%q)", name) }

const (
	deduped  = "../broker/dedup.go"
	rows     = "../broker/rows.go"
	saver    = "../broker/saver.go"
	pipe     = "../storage/pipeline.go"
	loaded   = "../storage/sqlite/loaded.go"
	plan     = "../storage/sqlite/plan.go"
	prepared = "../storage/sqlite/statements.go"
	synced   = "../storage/sqlite/sync_linux.go"

	saveOp  = "\top := &storage.SaveProgress{Group: g.id, Epoch: g.def.Epoch, Position: position}\n"
	forward = "\tt.Next = max(t.Next, t.end)\n"
	insert  = `"INSERT INTO blocks (" + blockColumns + ", bodies) VALUES`
	batched = "\tbatch := w.pending[:n:n]\n"
	summed  = "\t\tt.Append(t.ID, r, &b.sums)\n"
	handed  = "\tdone := make(chan struct{})\n"
	syncing = "func syncData(f *os.File) error {\n"
	recall  = "now < k.until {"
)

func mutants() []mutant {
	return []mutant{
		{"ids-forgotten", repeats, "messages are stored, want", []patch{{deduped, recall, "now < k.until && !" + when("ids-forgotten") + " {"}}},
		{"ids-forgotten", compared, "not linearizable", nil},
		{"offsets-reused", kills, `"lost":[1-9]|beyond the end of the log`, []patch{
			{loaded, forward, "\tif !" + when("offsets-reused") + " {\n" + forward + "}\n"},
			{prepared, insert, `map[bool]string{true: "INSERT OR REPLACE", false: "INSERT"}[` + when("offsets-reused") + `] + " INTO blocks (" + blockColumns + ", bodies) VALUES`},
		}},
		{"ack-before-commit", kills, `"ack_undone":[1-9]`, []patch{{saver, handed, "\tif " + when("ack-before-commit") + ` {
		for i := range all {
			for _, done := range all[i].acks {
				done(nil)
			}
			all[i].acks = nil
		}
		time.Sleep(saveInterval)
	}
` + handed}}},
		{"cursor-before-delivery", kills, `"skipped":[1-9]`, []patch{{
			rows, saveOp, "\tif " + when("cursor-before-delivery") + " {\n\t\tat := min(position.Read+100, g.t.Next())\n\t\tposition = storage.Progress{Cursor: at, Read: at}\n\t}\n" + saveOp,
		}}},
		{"acks-not-stored", kills, `"ack_undone":[1-9]`, []patch{{
			rows, saveOp, "\tif " + when("acks-not-stored") + " {\n\t\tposition.Settled = nil\n\t}\n" + saveOp,
		}}},
		{"order-swapped", kills, `"reordered":[1-9]`, []patch{{pipe, batched, batched + "\tif " + when("order-swapped") + ` {
		for i, j := 0, n-1; i < j; i, j = i+1, j-1 {
			batch[i], batch[j] = batch[j], batch[i]
		}
	}
`}}},
		{"bytes-mixed-up", kills, `"wrong_bytes":[1-9]`, []patch{{
			plan, summed, "\t\tif i > 0 && t.Next%100 == 99 && " + when("bytes-mixed-up") + " {\n\t\t\tr.Body = op.Records[i-1].Body\n\t\t}\n" + summed,
		}}},
		{"no-sync", cuts, "was answered and is not there|is missing", []patch{{synced, syncing, syncing + "\tif " + when("no-sync") + " {\n\t\treturn nil\n\t}\n"}}},
	}
}

func TestMutantsAreFound(t *testing.T) {
	if finder := os.Getenv(mutantRole); finder != "" {
		find(t, finder)
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: mutants: cutting power needs root")
	}
	_ = faultreport.Scale(t, 1, 1)
	all := mutants()
	binary := mutantBinary(t, all)
	r := faultreport.Record{Test: "mutants", Fault: "(control) the broker is built with a fault in it", Promise: "the test finds it"}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			failed, said := lookFor(t, binary, m.finder, m.name)
			if _, why, skipped := strings.Cut(said, "NOT TESTED: "); skipped {
				t.Skipf("NOT TESTED: the mutant %s: %s", m.name, why)
			}
			r.Runs++
			if !failed || !regexp.MustCompile(m.finding).MatchString(said) {
				t.Errorf("%s did not find the fault: %s", m.finder, said)
				r.Broken++
			}
			r.Add(m.name, "found by "+m.finder)
		})
	}
	t.Run("none", func(t *testing.T) {
		for _, finder := range []string{kills, repeats, cuts, compared} {
			if failed, said := lookFor(t, binary, finder, ""); failed {
				t.Errorf("%s found what is not there: %s", finder, said)
			}
		}
	})
	r.Add("found", fmt.Sprintf("%d of %d", r.Runs-r.Broken, r.Runs))
	r.Save(t)
}

// mutantBinary builds the broker with all faults.
func mutantBinary(t *testing.T, all []mutant) string {
	t.Helper()
	var patches []patch
	for _, m := range all {
		patches = append(patches, m.patches...)
	}
	added := map[string]string{}
	for _, dir := range []string{"broker", "storage", "storage/sqlite"} {
		added["../"+dir+"/mutant.go"] = "package " + filepath.Base(dir) + "\n\nimport \"os\"\n\nvar switched = os.Getenv(\"" + mutantSwitch + "\")\n\n" +
			"func mutant(name string) bool { return switched == name }\n"
	}
	return buildPatched(t, patches, added)
}

// lookFor has a process of its own look for the fault of a mutant: what it finds is to
// fail that process, and not this one.
func lookFor(t *testing.T, binary, finder, name string) (failed bool, said string) {
	t.Helper()
	wrapper := filepath.Join(t.TempDir(), "zbus")
	script := "#!/bin/sh\n" + mutantSwitch + "='" + name + "' exec '" + binary + "' \"$@\"\n"
	if err := os.WriteFile(wrapper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestMutantsAreFound$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), mutantRole+"="+finder, binaryVariable+"="+wrapper, faultreport.FileVariable+"=")
	if name == "" {
		cmd.Env = append(cmd.Env, roundsVariable+"=2") // to find nothing takes all of them
	}
	out, err := cmd.CombinedOutput()
	return err != nil, string(out)
}

// find is what that process does.
func find(t *testing.T, finder string) {
	switch finder {
	case kills:
		found := crashes(t, realBroker(t, "fsync"), int(number(t, roundsVariable, 10)), "fsync", (*report).faults)
		t.Log(found)
		if found.faults() > 0 {
			t.Error("promises were broken")
		}
	case repeats:
		TestRepeatedMessagesWithDedupAreStoredOnceAcrossKills(t)
	case compared:
		h := newHistories(realBroker(t, "fsync"))
		for n := 1; n <= 5 && !t.Failed(); n++ {
			if broken := h.one(n); len(broken) > 0 {
				t.Errorf("history %d is not linearizable: %s", n, broken)
			}
		}
	case cuts:
		if _, lost := cutPower(t, faultdisk.Kinds()[0]); lost > 0 {
			t.Errorf("%d messages are lost", lost)
		}
	}
}

// cutPower cuts the power under a broker that has answered everything, and returns how
// much it was, and how much of it is not there when the power is back.
func cutPower(t *testing.T, kind string) (answered, lost int) {
	disk, err := faultdisk.New(kind, t.TempDir())
	p := realBroker(t, "fsync")
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
		if err := disk.Close(); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	if err != nil {
		t.Skipf("NOT TESTED: power cuts with %s: %v", kind, err)
	}
	p.dir = filepath.Join(disk.Path, "data")
	p.start()
	p.declare()
	c := p.dial()
	defer c.Close()
	for until := time.Now().Add(time.Second); time.Now().Before(until); answered++ {
		id := strconv.Itoa(answered)
		c.put([]byte(id), field(wire.HeaderCmd, wire.CmdProduce), field(wire.HeaderTopic, topic), field(wire.HeaderAck, "true"), field(wire.HeaderID, id))
		if err := c.w.Flush(); err != nil {
			t.Fatal(err)
		}
		if m, err := c.r.Read(); err != nil || m.Status != http.StatusOK {
			t.Fatalf("publish: %v, %v", m, err)
		}
	}
	if err := disk.Cut(); err != nil {
		t.Fatal(err)
	}
	p.kill()
	if err := disk.Remount(); err != nil {
		t.Fatal(err)
	}
	p.start()
	there := map[string]bool{}
	for _, id := range p.ids() {
		there[id] = true
	}
	for n := range answered {
		if !there[strconv.Itoa(n)] {
			t.Logf("%d was answered and is not there", n)
			lost++
		}
	}
	return answered, lost
}

// TestPowerCutsUnderTheBroker is about the broker as a whole; the store has a test of its own,
// which cuts the power in the middle of its work.
func TestPowerCutsUnderTheBroker(t *testing.T) {
	cycles := faultreport.Scale(t, 1, 50)
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: power cuts: mounting needs root")
	}
	for _, kind := range faultdisk.Kinds() {
		t.Run(kind, func(t *testing.T) {
			r := faultreport.Record{
				Test: "power-cut-broker-" + kind, Fault: "power cut right after an answer of the broker, on " + kind,
				Promise: "nothing that was answered is lost", Runs: cycles,
			}
			total := 0
			for range cycles {
				answered, lost := cutPower(t, kind)
				total += answered
				r.Broken += lost
			}
			r.Add("messages answered", total)
			r.Save(t)
		})
	}
}
