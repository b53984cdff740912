// Package architecture checks which package imports which, and that each one
// says what it is for. It has no code but this test.
package architecture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/rushmore/zbus-go"

// rule is what a package may import, in code that is not a test.
type rule struct {
	ours    []string // packages of this module, without its name; "*" is any
	modules []string // of others
	never   []string // of the standard library
}

// A package may import what its rule names and the standard library. Paths are
// within the module. A new package takes its place here first.
var rules = map[string]rule{
	"zbus":            {ours: []string{"internal/wire"}, modules: []string{"github.com/coder/websocket"}},
	"internal/wire":   {never: []string{"net", "net/http", "log/slog", "os"}},
	"internal/rpc":    {never: []string{"net", "net/http", "database/sql"}},
	"internal/socket": {modules: []string{"golang.org/x/sys"}, never: []string{"net/http", "database/sql"}},
	"internal/origin": {never: []string{"net/http", "database/sql"}},
	// What a misspelt word was meant to be, for all that refuse one.
	"internal/closest": {never: []string{"net", "net/http", "database/sql", "os"}},

	// Sizes as people write them, in settings and on the command line.
	"internal/bytesize": {never: []string{"net", "net/http", "database/sql", "os"}},

	// Files that are embedded compressed, for all who serve some.
	"internal/packed": {never: []string{"net", "database/sql", "os"}},

	// Patterns for tags and names, for all who hold something against them.
	"internal/filter": {never: []string{"net", "net/http", "database/sql", "os"}},

	// What is wrong right now, for all who find it and all who show it.
	"internal/condition": {never: []string{"net", "net/http", "database/sql", "os"}},

	// What to look at first, for all who show it.
	"internal/attention": {ours: []string{"internal/condition"}, never: []string{"net", "net/http", "database/sql", "os"}},

	"internal/storage": {
		never: []string{"net", "net/http", "database/sql"},
	},
	// What a store allows, whatever its engine.
	"internal/storage/rules": {ours: []string{"internal/storage"}, never: []string{"net", "net/http", "database/sql", "os"}},
	"internal/storage/sqlite": {
		ours:    []string{"internal/condition", "internal/storage", "internal/storage/rules", "internal/storage/sqlite/pages", "internal/storage/sqlite/vfs", "internal/storage/sqlite/wal", "migrations"},
		modules: []string{"modernc.org/sqlite", "github.com/pressly/goose/v3", "golang.org/x/sys"},
		never:   []string{"net", "net/http"},
	},
	// Knows the file format and not what is in the tables.
	"internal/storage/sqlite/pages": {never: []string{"net", "net/http", "database/sql"}},
	// Knows files, and nothing of tables. Alone shares memory with SQLite.
	"internal/storage/sqlite/vfs": {
		ours:    []string{"internal/storage", "internal/storage/sqlite/wal"},
		modules: []string{"modernc.org/sqlite/lib", "modernc.org/libc", "golang.org/x/sys"},
		never:   []string{"net", "net/http", "database/sql"},
	},
	"internal/storage/sqlite/wal": {never: []string{"net", "net/http", "database/sql", "unsafe"}},
	"internal/storage/postgres": {
		ours:    []string{"internal/condition", "internal/storage", "internal/storage/rules", "migrations"},
		modules: []string{"github.com/jackc/pgx/v5/pgconn", "github.com/pressly/goose/v3"},
		never:   []string{"net/http"},
	},
	"internal/storage/postgres/pgtest": {},
	"internal/storage/storetest":       {ours: []string{"internal/storage"}, modules: []string{"pgregory.net/rapid"}},
	"migrations":                       {},

	// Who may do what, for all ways in.
	"internal/access": {
		ours:    []string{"internal/filter", "internal/storage"},
		modules: []string{"golang.org/x/crypto"},
		never:   []string{"database/sql", "os"},
	},
	// Who says who they are elsewhere.
	"internal/sso": {
		ours:    []string{"internal/access", "internal/condition", "internal/storage"},
		modules: []string{"github.com/coreos/go-oidc/v3", "github.com/go-jose/go-jose/v4", "golang.org/x/oauth2"},
		never:   []string{"database/sql", "os"},
	},
	"internal/broker": {
		ours:  []string{"internal/access", "internal/condition", "internal/filter", "internal/storage"},
		never: []string{"net", "net/http", "database/sql", "os"},
	},

	// Logs, as people read them.
	"internal/inspect": {
		ours:  []string{"internal/access", "internal/broker", "internal/filter", "internal/storage"},
		never: []string{"net", "net/http", "database/sql", "os"},
	},

	// A broker inside of a program, and of a test. Both are for other modules.
	"zbus/embed":    {ours: []string{"internal/config", "internal/daemon", "zbus"}, modules: []string{"github.com/spf13/pflag"}},
	"zbus/zbustest": {ours: []string{"zbus", "zbus/embed"}},
	// Managing a server from a program, in the values of the contract.
	"zbus/admin": {ours: []string{"internal/apimodel", "internal/apirequest"}},

	// What other servers there are. It knows their JSON and nothing of what is in it.
	"internal/cluster": {ours: []string{"internal/condition", "internal/socket", "internal/wire"}, never: []string{"net/http/httptest", "database/sql"}},

	// Emptying a server before it stops.
	"internal/drain": {ours: []string{"internal/broker", "internal/cluster", "internal/inspect"}, never: []string{"net", "net/http", "database/sql", "os"}},

	// Those above the broker hand on its records and errors, which are the
	// contract's. What they may not do is call a store: they are given none.
	"internal/server": {
		ours:    []string{"internal/access", "internal/wire", "internal/broker", "internal/caller", "internal/cluster", "internal/condition", "internal/forward", "internal/inspect", "internal/rpc", "internal/origin", "internal/socket", "internal/storage"},
		modules: []string{"github.com/coder/websocket", "github.com/go-chi/chi/v5", "github.com/go-chi/cors"},
		never:   []string{"database/sql"},
	},
	// Rates are sampled once for all who show them.
	"internal/stats": {ours: []string{"internal/broker", "internal/filter", "internal/inspect", "internal/storage"}, never: []string{"net", "net/http", "database/sql"}},
	"internal/metrics": {
		ours:  []string{"internal/access", "internal/broker", "internal/condition", "internal/rpc", "internal/stats", "internal/storage"},
		never: []string{"database/sql"},
	},
	// Calls for who is no session.
	"internal/caller": {ours: []string{"internal/access", "internal/broker", "internal/rpc", "internal/storage", "internal/wire"}, never: []string{"net/http"}},
	// The two ends of a proxy. They know each other's messages, not each other.
	"internal/forward": {ours: []string{"internal/access", "internal/broker", "internal/cluster", "internal/wire"}},
	"internal/gateway": {ours: []string{"internal/access", "internal/apimodel", "internal/origin", "internal/problem", "internal/broker", "internal/caller", "internal/cluster", "internal/forward", "internal/wire"}},
	"internal/proxy":   {ours: []string{"internal/wire", "zbus"}},
	"internal/api": {
		ours: []string{
			"internal/access", "internal/apiconv", "internal/apimodel", "internal/broker", "internal/caller", "internal/closest", "internal/cluster", "internal/filter", "internal/forward", "internal/inspect", "internal/packed", "internal/problem", "internal/rpc", "internal/origin", "internal/stats", "internal/storage", "internal/strictjson", "internal/wire",
		},
		modules: []string{"github.com/go-chi/chi/v5", "github.com/oapi-codegen/runtime"},
		never:   []string{"database/sql"},
	},
	"webui": {ours: []string{"internal/packed"}},
	// What users of the client write.
	"examples/orders": {ours: []string{"zbus"}},
	// JSON over a WebSocket: subscriptions and live figures, in the words of the API.
	"internal/live": {
		ours: []string{
			"internal/access", "internal/apiconv", "internal/apimodel", "internal/broker", "internal/caller", "internal/cluster", "internal/forward", "internal/problem", "internal/rpc", "internal/socket", "internal/stats", "internal/storage", "internal/strictjson", "internal/wire",
		},
		modules: []string{"github.com/coder/websocket"},
		never:   []string{"database/sql"},
	},

	// The values of the HTTP API for its clients, which are generated.
	"internal/apimodel": {modules: []string{"github.com/oapi-codegen/runtime"}},
	// What the API, its WebSocket and the gateway have in common, so that none of them needs another.
	"internal/problem": {
		ours:  []string{"internal/access", "internal/apimodel", "internal/broker", "internal/forward"},
		never: []string{"net", "database/sql", "os"},
	},
	"internal/strictjson": {
		ours:  []string{"internal/broker", "internal/closest", "internal/problem", "internal/wire"},
		never: []string{"net", "database/sql", "os"},
	},
	"internal/apiconv": {
		ours: []string{
			"internal/apimodel", "internal/attention", "internal/broker", "internal/condition", "internal/filter", "internal/inspect", "internal/problem", "internal/rpc", "internal/stats", "internal/storage", "internal/strictjson", "internal/wire",
		},
		never: []string{"net", "database/sql", "os"},
	},
	// Its requests.
	"internal/apirequest": {ours: []string{"internal/apimodel", "zbus"}},
	// What users of a broker do, with the clients that everyone has.
	"internal/cli": {
		ours:    []string{"internal/apimodel", "internal/apirequest", "internal/backup", "internal/bytesize", "internal/closest", "internal/datadir", "internal/proxy", "internal/storage/sqlite", "internal/wire", "zbus"},
		modules: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/mattn/go-isatty", "go.yaml.in/yaml/v3", "golang.org/x/sys", "golang.org/x/term"},
		never:   []string{"database/sql"},
	},
	// A client by itself, so that it measures what every client gets.
	"internal/bench": {ours: []string{"internal/wire"}},

	"internal/config": {
		ours:    []string{"internal/bytesize", "internal/closest"},
		modules: []string{"github.com/knadh/koanf", "github.com/spf13/pflag", "go.yaml.in/yaml/v3"},
		never:   []string{"net/http", "os"},
	},
	// Log lines that nothing waits for.
	"internal/logs":    {modules: []string{"github.com/DeRuina/timberjack"}, never: []string{"net", "net/http", "database/sql"}},
	"internal/datadir": {modules: []string{"golang.org/x/sys"}},
	// The figures of fault tests, and the page made of them.
	"internal/faultdisk":        {modules: []string{"golang.org/x/sys"}, never: []string{"net", "net/http", "database/sql"}},
	"internal/faultreport":      {never: []string{"net", "net/http", "database/sql"}},
	"internal/faultreport/page": {ours: []string{"internal/faultreport"}},
	"internal/bubbles":          {modules: []string{"pgregory.net/rapid"}, never: []string{"net", "net/http", "database/sql"}},
	"internal/certtest":         {never: []string{"net/http", "database/sql"}},
	"internal/testreport":       {never: []string{"net", "net/http", "database/sql"}},
	"internal/zbustest":         {ours: []string{"internal/config", "internal/daemon", "zbus"}},
	// Copies of the database, which are files that belong to nobody.
	"internal/backup": {
		ours:  []string{"internal/condition", "internal/datadir", "internal/storage", "internal/storage/sqlite"},
		never: []string{"net", "net/http", "database/sql"},
	},
	"internal/daemon": {
		ours: []string{"*"},
		modules: []string{
			"github.com/KimMachineGun/automemlimit", "github.com/go-chi/chi/v5", "golang.org/x/sync", "golang.org/x/sys",
		},
	},
	"cmd/zbus": {
		ours: []string{
			"internal/bench", "internal/cli", "internal/closest", "internal/config", "internal/daemon", "internal/datadir", "internal/logs", "internal/storage", "internal/storage/postgres", "internal/storage/sqlite", "zbus",
		},
		modules: []string{"github.com/spf13/cobra", "github.com/spf13/pflag", "modernc.org/sqlite"},
	},
}

// onlyTests are the packages that only tests may import, whatever the rules say.
var onlyTests = []string{"internal/bubbles", "internal/certtest", "internal/storage/postgres/pgtest", "internal/storage/storetest", "internal/zbustest"}

// listed is what the go command says about a package.
type listed struct {
	ImportPath string
	Doc        string
	GoFiles    []string
	Imports    []string
}

// packages lists those with code that is not a test.
func packages(t *testing.T) (all []listed) {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Doc,GoFiles,Imports", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	d := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
	if len(all) == 0 {
		t.Fatal("go list names no package")
	}
	return all
}

// within reports whether path is one of roots or below it.
func within(path string, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// complaints lists what is wrong with one package.
func complaints(p listed) (all []string) {
	own, _ := inModule(p.ImportPath)
	r, ok := rules[own]
	if !ok {
		return []string{p.ImportPath + ": has no rule; add one that says what it may import"}
	}
	if p.Doc == "" {
		all = append(all, p.ImportPath+": has no package comment")
	}
	for _, path := range p.Imports {
		if !allowed(r, path) {
			all = append(all, fmt.Sprintf("%s: must not import %s", p.ImportPath, path))
		}
	}
	return all
}

func allowed(r rule, path string) bool {
	if own, ok := inModule(path); ok {
		return !slices.Contains(onlyTests, own) && (slices.Contains(r.ours, own) || slices.Contains(r.ours, "*"))
	}
	if host, _, _ := strings.Cut(path, "/"); strings.Contains(host, ".") {
		return within(path, r.modules)
	}
	return !slices.Contains(r.never, path)
}

func inModule(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func TestImportsRunOneWayAndEveryPackageHasAComment(t *testing.T) {
	for _, p := range packages(t) {
		for _, c := range complaints(p) {
			t.Error(c)
		}
	}
}

func TestRulesCatchWhatTheyAreFor(t *testing.T) {
	for _, c := range []struct {
		from, to string
		ok       bool
	}{
		{"internal/broker", module + "/internal/storage", true},
		{"internal/broker", module + "/internal/server", false},
		{"internal/broker", module + "/internal/storage/sqlite", false},
		{"internal/broker", module + "/internal/inspect", false},
		{"internal/broker", "net/http", false},
		{"internal/broker", "net/netip", true},
		{"internal/storage", module + "/internal/broker", false},
		{"internal/storage", "modernc.org/sqlite", false},
		{"internal/storage/sqlite", "modernc.org/sqlite/lib", true},
		{"internal/server", module + "/internal/storage/sqlite", false},
		{"internal/wire", "github.com/coder/websocket", false},
		{"internal/daemon", module + "/internal/storage/sqlite", true},
		{"internal/daemon", module + "/internal/storage/storetest", false},
		{"zbus", module + "/internal/broker", false},
		{"internal/live", module + "/internal/api", false},
		{"internal/gateway", module + "/internal/api", false},
		{"internal/api", module + "/internal/live", false},
		{"internal/api", module + "/internal/gateway", false},
		{"internal/apiconv", module + "/internal/api", false},
		{"internal/config", "github.com/knadh/koanf/v2", true},
		{"internal/config", "github.com/knadh/koanfish", false},
	} {
		if got := allowed(rules[c.from], c.to); got != c.ok {
			t.Errorf("%q may import %s: %t, want %t", c.from, c.to, got, c.ok)
		}
	}
	if got := complaints(listed{ImportPath: module + "/internal/util", Doc: "Package util."}); len(got) != 1 {
		t.Errorf("a package without a rule: got %q", got)
	}
	if got := complaints(listed{ImportPath: module + "/internal/broker"}); len(got) != 1 {
		t.Errorf("a package without a comment: got %q", got)
	}
}
