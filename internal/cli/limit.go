package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
)

// limitHelp is what help says of limits.
const limitHelp = "A limit is NAME=N; 0 is none. connections: at a time. messages, bytes: a second, published\n" +
	"and delivered each; bytes may be 1MiB. calls: in flight. They are for all connections of the\n" +
	"account together; what is over is refused with the time to wait, and deliveries wait.\n" +
	"topics: that it owns, which are at first those that it created. stored: the size of all messages\n" +
	"in these, no matter which account published them; over it publishing to them is refused."

func (a *app) accountLimit() *cobra.Command {
	none := false
	cmd := &cobra.Command{
		Use: "limit NAME [LIMIT...]", Short: "Set the limits of an account", Args: wants("NAME", "LIMIT..."),
		Long: "Set the limits of an account to those given. What it had before is taken away; then those of\n" +
			"its roles hold.\n\n" + limitHelp,
		Example: "  zbus account limit shop messages=1000 bytes=4MiB connections=20\n  zbus account limit shop --none",
		RunE: a.administer(func(ctx context.Context, i *invocation, c *api) error {
			if none == (len(i.args) > 1) {
				return usage("account limit: say which limits, or --none to take them away; zbus account show tells which there are")
			}
			limits, err := parseLimits("account limit", i.args[1:])
			if err != nil {
				return err
			}
			return i.changeAccount(ctx, c, apimodel.AccountChange{Limits: limits})
		}),
	}
	cmd.Flags().BoolVar(&none, "none", false, "no limits but those of its roles")
	return cmd
}

// limitNames are the names of limits and where they are.
func limitNames(l *apimodel.AccountLimits) []struct {
	name string
	at   **int64
} {
	return []struct {
		name string
		at   **int64
	}{
		{"connections", &l.Connections},
		{"messages", &l.Messages},
		{"bytes", &l.Bytes},
		{"calls", &l.Calls},
		{"stored", &l.Stored},
		{"topics", &l.Topics},
	}
}

// parseLimits reads limits such as messages=1000.
func parseLimits(command string, list []string) (*apimodel.AccountLimits, error) {
	l := &apimodel.AccountLimits{}
	for _, text := range list {
		name, value, _ := strings.Cut(text, "=")
		if isSize(name) {
			size, err := parseSize("limit "+name, value)
			if err != nil {
				return nil, usage("%s: %q: must be a size, such as %s=4MiB", command, text, name)
			}
			value = size
		}
		n, err := strconv.ParseInt(value, 10, 64)
		found := false
		for _, x := range limitNames(l) {
			if x.name == name {
				*x.at, found = &n, true
			}
		}
		if !found || err != nil || n < 0 {
			return nil, usage("%s: %q: must be connections=N, messages=N, bytes=SIZE, calls=N, stored=SIZE or topics=N", command, text)
		}
	}
	return l, nil
}

// isSize reports whether a limit is one of bytes.
func isSize(name string) bool { return name == "bytes" || name == "stored" }

// limitsOf tells limits as they can be given.
func limitsOf(l *apimodel.AccountLimits) string {
	if l == nil {
		return ""
	}
	var list []string
	for _, x := range limitNames(l) {
		if *x.at != nil && **x.at > 0 {
			list = append(list, x.name+"="+limit(x.name, **x.at))
		}
	}
	return strings.Join(list, " ")
}

// usageOf tells what an account has now, beside what is limited of that.
func usageOf(u *apimodel.AccountUsage, l *apimodel.AccountLimits) string {
	if u == nil {
		return ""
	}
	if l == nil {
		l = &apimodel.AccountLimits{}
	}
	var list []string
	for _, x := range []struct {
		name string
		has  int64
		most *int64
	}{{"connections", u.Connections, l.Connections}, {"calls", u.Calls, l.Calls}, {"stored", u.Stored, l.Stored}, {"topics", u.Topics, l.Topics}} {
		text := x.name + "=" + limit(x.name, x.has)
		if x.most != nil && *x.most > 0 {
			text += " of " + limit(x.name, *x.most)
		}
		list = append(list, text)
	}
	return strings.Join(list, ", ")
}

// limit tells one exactly, in the largest unit that it is a multiple of.
func limit(name string, n int64) string {
	unit := ""
	for _, next := range []string{"KiB", "MiB", "GiB"} {
		if !isSize(name) || n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, next
	}
	return strconv.FormatInt(n, 10) + unit
}
