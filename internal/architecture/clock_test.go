package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// monotonic are the packages that order, sync and time out, which a wall clock that
// is set must not change. They measure time and never ask what time it is.
var monotonic = []string{"internal/storage", "internal/storage/postgres", "internal/storage/rules", "internal/storage/sqlite", "internal/storage/sqlite/vfs", "internal/storage/sqlite/wal", "internal/rpc", "internal/socket", "internal/stats", "internal/cluster"}

// wallClock are the methods that give up the monotonic clock of a time.Time.
var wallClock = []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "UTC", "AddDate"}

// reason begins the comment on a line that may read the wall clock, since it only
// shows the time to people.
const reason = "// wall clock: "

// readsWallClock lists where a file uses a time.Time for more than an interval.
func readsWallClock(set *token.FileSet, file *ast.File) (places []string) {
	allowed := map[int]bool{}
	for _, group := range file.Comments {
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, reason) {
				allowed[set.Position(c.Pos()).Line] = true
			}
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		f, ok := call.Fun.(*ast.SelectorExpr)
		at := set.Position(call.Pos())
		if ok && slices.Contains(wallClock, f.Sel.Name) && !constant(call.Args) && !allowed[at.Line] {
			places = append(places, at.String()+": "+f.Sel.Name)
		}
		return true
	})
	return places
}

// constant reports whether a call has arguments and all are literals, as in
// time.Unix(1, 0), a deadline that has passed on any clock.
func constant(args []ast.Expr) bool {
	return len(args) > 0 && !slices.ContainsFunc(args, func(e ast.Expr) bool {
		_, ok := e.(*ast.BasicLit)
		return !ok
	})
}

func parse(t *testing.T, name string, src any) (*token.FileSet, *ast.File) {
	t.Helper()
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	return set, file
}

func TestStorageAndTimeoutsNeverSeeTheWallClock(t *testing.T) {
	for _, dir := range monotonic {
		files, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no files (%v)", dir, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, place := range readsWallClock(parse(t, name, src)) {
				t.Errorf("%s reads the wall clock: subtract a time.Time of this process, or end the line with %q if it is for people alone", place, reason+"why")
			}
		}
	}
}

func TestReadingTheWallClockIsFound(t *testing.T) {
	for src, want := range map[string]int{
		"time.Now().UnixNano()":                              1,
		"began.UnixMilli()":                                  1,
		"began.UnixMilli() // wall clock: for the lock file": 0,
		"time.Now().UTC().Format(time.RFC3339)":              1,
		"time.Since(began)":                                  0,
		"began.Add(time.Since(began)).Before(until)":         0,
		"time.Unix(1, 0)":                                    0,
		"time.Unix(seconds, 0)":                              1,
	} {
		if got := readsWallClock(parse(t, "x.go", "package x\nvar _ = "+src)); len(got) != want {
			t.Errorf("%s: found %q, want %d", src, got, want)
		}
	}
}
