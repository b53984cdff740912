package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// everyCommand calls f for all commands.
func everyCommand(f func(*cobra.Command)) {
	root := &cobra.Command{Use: "zbus"}
	AddTo(root, nil)
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			f(c)
			walk(c)
		}
	}
	walk(root)
}

func TestEveryCommandIsDocumented(t *testing.T) {
	n := 0
	everyCommand(func(c *cobra.Command) {
		n++
		path := c.CommandPath()
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: says %q; wanted is a phrase", path, c.Short)
		}
		if c.Runnable() && c.Example == "" {
			t.Errorf("%s: has no example", path)
		}
		if !c.Runnable() && c.Long == "" {
			t.Errorf("%s: has no explanation", path)
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if len([]rune(strings.TrimSpace(line))) > 100 {
				t.Errorf("%s: a line is too long: %s", path, line)
			}
		}
		if c.Runnable() && c.Args == nil {
			t.Errorf("%s: takes any arguments", path)
		}
	})
	if n < 40 {
		t.Errorf("%d commands", n)
	}
}

func TestExamplesAreCommandsThatThereAre(t *testing.T) {
	root := &cobra.Command{Use: "zbus"}
	AddTo(root, nil)
	everyCommand(func(c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			at := strings.LastIndex(line, "zbus ")
			if at < 0 {
				continue
			}
			words := strings.Fields(line[at:])[1:]
			found, rest, err := root.Find(words)
			if err != nil || found == root {
				t.Errorf("%s: %q is no command: %v", c.CommandPath(), line, err)
				continue
			}
			for _, word := range rest {
				name, long := strings.CutPrefix(word, "--")
				name, _, _ = strings.Cut(name, "=")
				if long && found.Flag(name) == nil && found.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: %q has no flag --%s", c.CommandPath(), line, name)
				}
				if word == "|" || word == ">" || word == "&&" {
					break
				}
			}
		}
	})
}

func TestPlaces(t *testing.T) {
	zone := time.FixedZone("east", 2*3600)
	now := time.Date(2026, 2, 3, 12, 0, 0, 0, zone)
	for text, want := range map[string]string{
		"earliest":             `"earliest"`,
		"LATEST":               `"latest"`,
		"0":                    `{"offset":"0"}`,
		"12,345":               `{"offset":"12345"}`,
		"-100":                 `{"shift":"-100"}`,
		"+1_000":               `{"shift":"1000"}`,
		"group:billing":        `{"group":"billing"}`,
		"id:a:b":               `{"messageId":"a:b"}`,
		"90m":                  `{"time":"2026-02-03T08:30:00Z"}`,
		"1d12h":                `{"time":"2026-02-01T22:00:00Z"}`,
		"09:15":                `{"time":"2026-02-03T07:15:00Z"}`,
		"2026-02-01":           `{"time":"2026-01-31T22:00:00Z"}`,
		"2026-02-01T15:04":     `{"time":"2026-02-01T13:04:00Z"}`,
		"2026-02-01 15:04:05":  `{"time":"2026-02-01T13:04:05Z"}`,
		"2026-02-01T15:04:05Z": `{"time":"2026-02-01T15:04:05Z"}`,
		"group:":               "", "id:": "", "yesterday": "", "": "", "-5m": "", "99999999999999999999": "", "25:00": "",
	} {
		p, err := parsePlace("to", text, true, now)
		if (err == nil) != (want != "") {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if err != nil {
			continue
		}
		api, err := p.api()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := api.MarshalJSON(); err != nil || string(got) != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	if _, err := parsePlace("start", "-5", false, now); err == nil {
		t.Error("a new group can't begin at a shift")
	}
}

func TestNumbersForPeople(t *testing.T) {
	for got, want := range map[string]string{
		count("0"): "0", count("999"): "999", count("1000"): "1,000", count("1234567"): "1,234,567",
		size("1023"): "1023 B", size("1536"): "1.5 KiB", size("9223372036854775807"): "8388608.0 TiB",
		millis(0): "0ms", millis(999): "999ms", millis(1500): "1.5s", millis(60_000): "1m", millis(3_661_000): "1h1m",
		millis(90_000_000): "1d1h", rate(0): "0", rate(0.25): "0.2", rate(1234.5): "1,235", number(-1234): "-1,234",
		counted("1", "message", "messages"): "1 message",
		oneLine("a\nb\x1b[31m\xff", 99):     "a b·[31m·", oneLine("12345", 3): "123…",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
