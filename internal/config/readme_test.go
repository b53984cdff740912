package config

import (
	"os"
	"regexp"
	"slices"
	"testing"
)

func TestReadmeListsTheSettings(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	flags := regexp.MustCompile("`--([a-z-]+)`")
	for _, row := range regexp.MustCompile("(?m)^\\| (`--[^|]*) \\|").FindAllStringSubmatch(string(readme), -1) {
		for _, flag := range flags.FindAllStringSubmatch(row[1], -1) {
			got = append(got, flag[1])
		}
	}
	c := Default()
	for _, s := range settings(&c) {
		want = append(want, s.name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("README lists %q, and there are %q", got, want)
	}
}
