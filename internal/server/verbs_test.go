package server

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestReadmeListsTheCommands(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	list := regexp.MustCompile(`(?s)\nCommands: (.*?)\.`).FindSubmatch(readme)
	if list == nil {
		t.Fatal("no list of commands")
	}
	got := slices.Sorted(slices.Values(strings.Split(strings.Join(strings.Fields(string(list[1])), " "), ", ")))
	if want := slices.Sorted(maps.Keys(new(Server).commands())); !slices.Equal(got, want) {
		t.Errorf("README lists %q, and there are %q", got, want)
	}
}
