package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/faultreport"
	"github.com/rushmore/zbus-go/internal/storage"
)

// mixedDatabase has messages in blocks, apart and fresh, large ones and some that were
// dropped, groups in all places, a topic that was removed. It is closed.
func mixedDatabase(t testing.TB) (path string, messages map[string][]storage.Record) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path, fresh: freshLimits{bytes: 20 << 10, most: 1 << 30, age: 1 << 40, step: 10 << 10, inline: 100}})
	names := []string{"orders", "clicks", "mails", "removed"}
	var ids []storage.TopicID
	for _, name := range names {
		ids = append(ids, addTopic(t, s, name))
	}
	for round := range 40 {
		var ops []storage.Op
		for i, id := range ids {
			rs := mixedMessages(round, i)
			ops = append(ops, &storage.Append{Topic: id, Records: rs})
		}
		mustCommit(t, s, ops...)
		if err := s.Maintain(); err != nil {
			t.Fatal(err)
		}
	}
	big := mixedMessages(0, 0)[:1]
	big[0].Body = []byte(strings.Repeat("large ", 30_000))
	mustCommit(t, s, &storage.Append{Topic: ids[0], Records: big}, &storage.Append{Topic: ids[1], Records: mixedMessages(1, 1)})
	mustCommit(t, s,
		&storage.CreateGroup{Group: &storage.Group{Topic: ids[0], Name: "billing", Filter: "a.*", AckWindow: 10}, Entry: &storage.JournalEntry{Topic: ids[0], Kind: "create", Actor: storage.Actor{Name: "me", Address: "here", Token: "t"}}},
		&storage.CreateGroup{Group: &storage.Group{Topic: ids[1], Name: "billing"}},
		&storage.Trim{Topic: ids[2], First: 30}, &storage.Purge{Limit: 20},
		&storage.RemoveTopic{Topic: ids[3]},
		&storage.Audit{Entry: &storage.AuditEntry{Actor: storage.Actor{Name: "me", Address: "here", Token: "t"}, Action: "test"}},
		&storage.SaveProgress{
			Group: 1, Position: storage.Progress{Cursor: 10, Read: 20, Settled: storage.Ranges{{Lo: 12, Hi: 14}}},
			Park: []storage.Parked{{Group: 1, Offset: 15, Count: 2, Due: 7, Cause: "nack"}},
		},
	)
	for _, of := range []storage.Series{{Topic: ids[0]}, {Topic: ids[0], Group: 1}, {Topic: ids[1], Group: 2}} {
		mustCommit(t, s, &storage.PutHistory{Series: of, Level: 2, Data: []byte("history")})
	}
	messages = intactMessages(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, messages
}

func mixedMessages(round, i int) []storage.Record {
	rs := messages(1+(round*7+i*3)%5, (round*13+i)%400)
	for k := range rs {
		rs[k].Body = fmt.Appendf(nil, "message %d/%d/%d: %s", round, i, k, rs[k].Body)
		rs[k].Headers = `{"h":"v"}`
		rs[k].Tag = "a.x"
	}
	return rs
}

// intactMessages reads the intact messages of all topics.
func intactMessages(t testing.TB, s *Store) map[string][]storage.Record {
	t.Helper()
	all := map[string][]storage.Record{}
	state, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range state.Topics {
		rs, err := s.Read(context.Background(), topic.ID, 0, storage.Page{Rows: 1 << 20}, nil)
		if err != nil {
			t.Fatal(err)
		}
		all[topic.Name] = slices.DeleteFunc(rs, func(r storage.Record) bool { return r.Damaged() })
	}
	return all
}

// salvaged salvages a database, opens what came out and compares the messages with those
// that there were. It returns how many are missing.
func salvaged(t testing.TB, path string, want map[string][]storage.Record) (missing int64, report Salvaged) {
	t.Helper()
	to := filepath.Join(t.TempDir(), "new.db")
	report, err := Salvage(context.Background(), path, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := mustOpen(t, Options{Path: to})
	got := intactMessages(t, s)
	state, err := s.Load(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for name, rs := range want {
		if _, there := got[name]; !there {
			name = recoveredName(state, got, rs)
		}
		found := map[int64]*storage.Record{}
		for i := range got[name] {
			found[got[name][i].Offset] = &got[name][i]
		}
		for i := range rs {
			r := found[rs[i].Offset]
			if r == nil {
				missing++
			} else if fmt.Sprint(*r) != fmt.Sprint(rs[i]) {
				t.Errorf("%s: %+v, was %+v", name, *r, rs[i])
			}
			delete(found, rs[i].Offset)
		}
		if len(found) > 0 && !strings.HasPrefix(name, "recovered-") { // those of a lost beginning
			t.Errorf("%s: %d messages that there were not", name, len(found))
		}
	}
	if missing > report.Lost && len(report.Notes) == 0 { // where a log ends may be lost with a table
		t.Errorf("%d messages are missing, and the report says %d", missing, report.Lost)
	}
	return missing, report
}

// recoveredName is the topic that has a message, under whatever name.
func recoveredName(state storage.State, got map[string][]storage.Record, rs []storage.Record) string {
	for _, t := range state.Topics {
		if all := got[t.Name]; strings.HasPrefix(t.Name, "recovered-") && len(all) > 0 && slices.ContainsFunc(rs, func(r storage.Record) bool { return r.CRC == all[len(all)-1].CRC }) {
			return t.Name
		}
	}
	return ""
}

func TestSalvageOfASoundDatabaseIsACopyOfIt(t *testing.T) {
	path, want := mixedDatabase(t)
	before := readFiles(t, path)
	missing, report := salvaged(t, path, want)
	if missing != 0 || report.Lost != 0 || len(report.Notes) != 0 || len(report.Topics) != 3 || report.Groups != 2 || report.Journal != 1 || report.Audit != 1 {
		t.Errorf("%d missing, %+v", missing, report)
	}
	if string(readFiles(t, path)) != string(before) {
		t.Error("the old database has changed")
	}
	to := filepath.Join(t.TempDir(), "new.db")
	if _, err := Salvage(t.Context(), path, to, nil); err != nil {
		t.Fatal(err)
	}
	found, err := Verify(t.Context(), to, VerifyOptions{})
	if err != nil || !found.Sound() {
		t.Errorf("%+v %v", found, err)
	}
	if was, is := definitions(t, path), definitions(t, to); was != is {
		t.Errorf("there was\n%s\nthere is\n%s", was, is)
	}
	if _, err := Salvage(t.Context(), path, to, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("over an existing one: %v", err)
	}
}

// definitions are what is stored besides messages, and the ids given next.
func definitions(t *testing.T, path string) string {
	t.Helper()
	s := mustOpen(t, Options{Path: path})
	defer s.Close()
	state, err := s.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range state.Topics {
		state.Topics[i].Bytes = 0
	}
	journal, err1 := s.Journal(t.Context(), 1, 0, 10)
	audit, err2 := s.Audit(t.Context(), 0, 10)
	sizes, err3 := s.HistorySizes(t.Context())
	history, err4 := s.History(t.Context(), storage.Series{Topic: 1, Group: 1}, 0, 2)
	return fmt.Sprint(state, journal, audit, sizes, history, err1, err2, err3, err4, s.catalog.Last)
}

func TestSalvageReadsALogThatSQLiteGivesUpOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "zbus.db")
	s := mustOpen(t, Options{Path: path})
	topic := addTopic(t, s, "t")
	if err := s.checkpointHere(checkpointRestart, s.copier.last); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		mustCommit(t, s, &storage.Append{Topic: topic, Records: messages(3, 200)})
	}
	want := intactMessages(t, s)
	killed := filepath.Join(t.TempDir(), "zbus.db")
	copyFile(t, path, killed)
	copyFile(t, path+"-wal", killed+"-wal")
	if missing, report := salvaged(t, killed, want); missing != 0 {
		t.Errorf("of a killed process: %d missing, %+v", missing, report)
	}
	log, err := os.ReadFile(killed + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range faultreport.ScaleAlways(t, 3, 60) {
		at, bit := random.IntN(len(log)), byte(1)<<random.IntN(8)
		log[at] ^= bit
		if err := os.WriteFile(killed+"-wal", log, 0o600); err != nil {
			t.Fatal(err)
		}
		if missing, report := salvaged(t, killed, want); missing > 3 {
			t.Errorf("bit %d of byte %d: %d of 150 missing, %+v", bit, at, missing, report)
		}
		log[at] ^= bit
	}
}

func TestSalvageLosesNoMoreThanIsDamaged(t *testing.T) {
	path, want := mixedDatabase(t)
	all := int64(0)
	for _, rs := range want {
		all += int64(len(rs))
	}
	whole := readFiles(t, path)
	random := rand.New(rand.NewPCG(3, 4))
	lost, worst := int64(0), int64(0)
	flips := faultreport.ScaleAlways(t, 6, 160)
	for n := range flips {
		data := slices.Clone(whole)
		at := random.IntN(len(data))
		if n%3 == 0 { // the beginnings of pages are what their structure is in
			at = random.IntN(len(data)/4096)*4096 + random.IntN(40)
		}
		data[at] ^= 1 << random.IntN(8)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		missing, report := salvaged(t, path, want)
		if missing > 60 {
			t.Errorf("byte %d: %d of %d missing, %+v", at, missing, all, report)
		}
		lost, worst = lost+missing, max(worst, missing)
	}
	t.Logf("%d flips in %d pages with %d messages: %d lost, at most %d at a time", flips, len(whole)/4096, all, lost, worst)
}

// Every page in turn is overwritten, some of them in a run that is not a full one. The one of the table that says where messages are is
// the exception: with it all that it has is lost.
func TestSalvageLosesNoMoreThanAPage(t *testing.T) {
	path, want := mixedDatabase(t)
	whole := readFiles(t, path)
	var lost []int64
	for page := 0; page < len(whole)/4096; page += faultreport.ScaleAlways(t, 15, 1) {
		data := slices.Clone(whole)
		clear(data[page*4096 : (page+1)*4096])
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		missing, report := salvaged(t, path, want)
		if missing > 100 && !slices.Contains(report.Notes, "table blocks is damaged") {
			t.Errorf("page %d: %d missing, %+v", page+1, missing, report)
		}
		lost = append(lost, missing)
	}
	t.Logf("lost with each page: %v", lost)
}

func TestSalvageTellsWhatIsLost(t *testing.T) {
	path, want := mixedDatabase(t)
	data := readFiles(t, path)
	lost := want["orders"][5]
	at := strings.Index(string(data), string(lost.Body))
	data[at] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	missing, report := salvaged(t, path, want)
	i := slices.IndexFunc(report.Topics, func(t SalvagedTopic) bool { return t.Name == "orders" })
	if missing != 1 || report.Lost != 1 || i < 0 {
		t.Fatalf("%d missing, %+v", missing, report)
	}
	o := report.Topics[i]
	if o.FirstLost != lost.Offset || o.LastLost != lost.Offset || o.Kept != int64(len(want["orders"]))-1 || fmt.Sprint(o.Ranges) != fmt.Sprintf("[{%d %d}]", lost.Offset, lost.Offset+1) || o.Groups != 1 {
		t.Errorf("%+v", o)
	}
}

func TestSalvageTakesAnyNonsense(t *testing.T) {
	path, _ := mixedDatabase(t)
	whole := readFiles(t, path)
	random := rand.New(rand.NewPCG(5, 6))
	for n := range faultreport.ScaleAlways(t, 6, 60) {
		data := slices.Clone(whole)[:len(whole)-n*1000]
		for range 1 + n {
			from := random.IntN(len(data))
			for i := from; i < min(from+random.IntN(5000), len(data)); i++ {
				data[i] = byte(random.Uint32())
			}
		}
		log := slices.Clone(data[:min(20_000, len(data))])
		if err := errors.Join(os.WriteFile(path, data, 0o600), os.WriteFile(path+"-wal", log, 0o600)); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "new.db")
		report, err := Salvage(t.Context(), path, to, nil)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Verify(t.Context(), to, VerifyOptions{})
		if err != nil || found.Messages != report.Kept {
			t.Errorf("%d messages kept, %d there, %v", report.Kept, found.Messages, err)
		}
	}
}
