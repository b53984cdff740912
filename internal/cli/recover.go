package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/backup"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

func (a *app) recoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "recover OLD NEW", Short: "Save what is intact of a damaged database into a new directory", Args: wants("OLD", "NEW"),
		Long: "Create the data directory NEW from all that is intact in OLD, which is the directory or the\n" +
			"database of a broker that is stopped, or a backup. Nothing in OLD is changed. Every message\n" +
			"whose checksum matches is kept, at its offset, wherever it is in the file or in the log\n" +
			"next to it; topics, groups, the journal and the audit trail are kept where they can be read.\n" +
			"A topic whose name is lost is called recovered- and its number. Consumers of NEW are told\n" +
			"which messages are missing.\n\n" +
			"Exit code 75: messages are lost; the table says which. A backup may still have them.",
		Example: "  zbus recover /srv/broker /srv/broker-new\n  zbus recover damaged.db /var/lib/zbus-new --json",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			report, err := backup.Recover(ctx, i.args[0], i.args[1], i.share())
			if err != nil {
				return notRestored(err)
			}
			return i.printSalvaged(&report)
		}),
	}
	return a.shows(cmd)
}

// share shows a person how much of something is done.
func (i *invocation) share() func(float64) {
	if !isTerminal(i.err) {
		return nil
	}
	last := time.Now()
	return func(done float64) {
		if now := time.Now(); done >= 1 || now.Sub(last) >= 200*time.Millisecond {
			last = now
			fmt.Fprintf(i.err, "\r%.0f %%", 100*done)
			if done >= 1 {
				fmt.Fprintln(i.err)
			}
		}
	}
}

func (i *invocation) printSalvaged(r *sqlite.Salvaged) error {
	if i.json {
		if err := i.printJSON(r); err != nil {
			return err
		}
	} else {
		t := newTable("TOPIC", ">FIRST", ">NEXT", ">KEPT", ">LOST", ">FIRST LOST", ">LAST LOST", ">GROUPS")
		for _, topic := range r.Topics {
			t.add(topic.Name, offset(topic.First), offset(topic.Next), number(topic.Kept), number(topic.Lost),
				offset(topic.FirstLost), offset(topic.LastLost), number(topic.Groups))
		}
		if err := i.printTable(t, "no topics"); err != nil {
			return err
		}
		for _, note := range r.Notes {
			i.say("%s", note)
		}
		i.say("%s kept, %s lost; start the broker with --data %s", counted(decimal(r.Kept), "message", "messages"), number(r.Lost), i.args[1])
	}
	if r.Lost > 0 {
		return fail(ErrIncomplete, "%s lost; see which in the table, and look for them in a backup", counted(decimal(r.Lost), "message is", "messages are"))
	}
	return nil
}

// offset writes an offset, which may be none.
func offset(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}
