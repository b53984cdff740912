package postgres

import (
	"context"
	"strings"
	"testing"

	"github.com/rushmore/zbus-go/internal/storage/postgres/pgtest"
)

// grades are the findings by name.
func grades(t *testing.T, url string) map[string]Finding {
	t.Helper()
	found, err := Check(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Finding{}
	for _, f := range found {
		if f.Text == "" || (f.Grade == Good) != (f.Fix == "") {
			t.Errorf("%+v: says nothing, or not what to do", f)
		}
		all[f.Name] = f
	}
	return all
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	c := pgtest.Start(t, "idle_session_timeout = 60000", "full_page_writes = off")
	url := c.Database(t)
	name := pgtest.Name(url)
	c.SQL(t, "postgres", "CREATE ROLE poor LOGIN CONNECTION LIMIT 3")
	c.SQL(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = 'ghost'")
	c.SQL(t, "postgres", "SELECT pg_reload_conf()")
	poor := strings.Replace(url, "zbus@", "poor@", 1)
	until(t, "the server has its settings", func() bool { return grades(t, poor)["synchronous standby"].Grade == Good })
	got := grades(t, poor)
	for _, want := range []struct {
		name  string
		grade Grade
		fix   string
	}{
		{"version", Good, ""},
		{"encryption", Good, ""},
		{"encoding", Good, ""},
		{"permissions", Bad, "OWNER TO"},
		{"fsync", Bad, "fsync = on"}, // as servers of tests have it
		{"full_page_writes", Bad, "full_page_writes = on"},
		{"data_checksums", Warn, "pg_checksums"},
		{"synchronous standby", Good, ""},
		{"standbys connected", Bad, "start a standby"},
		{"connections", Bad, "CONNECTION LIMIT"},
		{"idle_session_timeout", Warn, "idle_session_timeout = 0"},
		{"statement_timeout", Good, ""},
		{"schema", Good, ""},
	} {
		if f := got[want.name]; f.Grade != want.grade || !strings.Contains(f.Fix, want.fix) {
			t.Errorf("%s: %+v, want %s", want.name, f, want.grade)
		}
	}
	c.SQL(t, "postgres", "ALTER SYSTEM SET synchronous_standby_names = ''")
	c.SQL(t, "postgres", "SELECT pg_reload_conf()")
	until(t, "the server has its settings", func() bool { return grades(t, poor)["synchronous standby"].Grade == Warn })
	c.SQL(t, "postgres", "ALTER DATABASE "+name+" OWNER TO poor")
	c.SQL(t, "postgres", "ALTER ROLE poor CONNECTION LIMIT -1")
	// What it found to be enough is enough.
	s := mustOpen(t, Options{URL: poor, Node: "rich"})
	got = grades(t, poor)
	for _, name := range []string{"permissions", "connections", "schema", "broker"} {
		if got[name].Grade != Good {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if !strings.Contains(got["broker"].Text, `"rich"`) {
		t.Errorf("the broker is not named: %+v", got["broker"])
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	c.SQL(t, name, "INSERT INTO goose_db_version (version_id, is_applied) VALUES (1000, true)")
	if f := grades(t, poor)["schema"]; f.Grade != Bad {
		t.Errorf("a newer schema: %+v", f)
	}
}
