package main

import (
	"strings"
	"testing"
)

// One package with a test of each outcome, one that does not compile, and a complaint of
// the go command, as go test -json writes them.
const events = `{"Action":"start","Package":"p"}
{"Action":"output","Package":"p","Test":"TestGood","Output":"    a_test.go:1: quiet\n"}
{"Action":"pass","Package":"p","Test":"TestGood"}
{"Action":"output","Package":"p","Test":"TestBad","Output":"    a_test.go:2: loud\n"}
{"Action":"fail","Package":"p","Test":"TestBad"}
{"Action":"output","Package":"p","Test":"TestRoot","Output":"=== RUN   TestRoot\n"}
{"Action":"output","Package":"p","Test":"TestRoot","Output":"    a_test.go:3: NOT TESTED: needs root: a mount\n"}
{"Action":"output","Package":"p","Test":"TestRoot","Output":"--- SKIP: TestRoot (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestRoot"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"ImportPath":"q","Action":"build-output","Output":"q/a.go:1:1: no\n"}
{"ImportPath":"q","Action":"build-fail"}
go: a complaint
`

func TestReportShowsFailuresAndWhatWasSkipped(t *testing.T) {
	var out strings.Builder
	if report(strings.NewReader(events), &out) {
		t.Error("a failure passes")
	}
	want := "    a_test.go:2: loud\nFAIL\tp\t0.1s\nq/a.go:1:1: no\ngo: a complaint\nskipped: NOT TESTED: needs root: a mount: TestRoot\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestReportOfNothingButSuccessPasses(t *testing.T) {
	var out strings.Builder
	ok := report(strings.NewReader(`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}`+"\n"+`{"Action":"pass","Package":"p"}`), &out)
	if !ok || out.String() != "ok  \tp\t0.1s\n" {
		t.Errorf("%t %q", ok, out.String())
	}
	out.Reset()
	if report(strings.NewReader(`{"Action":"build-fail","ImportPath":"q"}`), &out) {
		t.Error("what does not compile passes")
	}
}
