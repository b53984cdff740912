package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/backup"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
	"github.com/rushmore/zbus-go/zbus"
)

func (a *app) backupCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "backup TARGET", Short: "Copy the database of a broker, running or stopped, to a new file", Args: wants("TARGET"),
		Long: "Copy the whole database of a broker as of one moment to a new file, and read it back to check\n" +
			"it. Of a running broker it comes over the HTTP API, and clients are served on; with --data\n" +
			"it is read from the directory of a broker that is stopped. The file is an SQLite database\n" +
			"that needs nothing else; zbus restore creates a directory from it.\n\n" +
			"A file that exists is never replaced. Exit code 65: the backup is complete, but the check\n" +
			"has found damage, which the database has, too (see zbus verify).",
		Example: "  zbus backup /mnt/backups/monday.db\n  zbus backup /mnt/backups/old.db --data /var/lib/zbus",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			began, from, bytes := time.Now(), "", int64(0)
			report, err := backup.Save(ctx, i.args[0], func() (im backup.Image, err error) {
				if im, from, err = i.image(ctx, data); err == nil {
					bytes = im.Size()
				}
				return im, err
			}, i.progress())
			if err != nil {
				return written(err)
			}
			return i.printBackup(report, from, i.args[0], bytes, time.Since(began))
		}),
	}
	cmd.Flags().StringVar(&data, "data", "", "of this `DIR`ectory, which no broker uses")
	return a.connected(a.shows(cmd))
}

// image begins an image of a directory, or else of the broker that the flags name.
func (i *invocation) image(ctx context.Context, data string) (im backup.Image, from string, err error) {
	if data != "" {
		im, err = backup.OfDirectory(data)
		return im, data, err
	}
	c, err := i.api()
	if err != nil {
		return nil, "", err
	}
	resp, err := c.send(ctx, "GET /backup", nil)
	if err != nil {
		return nil, "", c.noAnswer(err)
	}
	if resp.StatusCode >= 400 || resp.ContentLength < 0 {
		_, err := c.answer(resp, nil)
		return nil, "", errors.Join(err, fail(zbus.ErrUnavailable, "%s answered %s and not as a broker does: it is another server, so look at --server", c.server.Host, resp.Status))
	}
	return &download{c, resp}, c.server.Host, nil
}

// download is an image that comes from a broker.
type download struct {
	api  *api
	resp *http.Response
}

func (d *download) Size() int64 { return d.resp.ContentLength }

func (d *download) Close() error { return d.resp.Body.Close() }

// Copy implements backup.Image.
func (d *download) Copy(ctx context.Context, w io.Writer) error {
	from := &reader{from: d.resp.Body}
	n, err := io.Copy(w, from)
	if from.err == nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	return fail(zbus.ErrUnavailable, "the backup was cut short after %s of %s: %s", size(decimal(n)), size(decimal(d.Size())), d.why(ctx, from.err))
}

// why asks the broker why it has ended a backup.
func (d *download) why(ctx context.Context, err error) string {
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	s, asked := do[apimodel.ServerStatus](ctx, d.api, "GET /server", nil)
	if asked == nil && s.value.Backup != nil && s.value.Backup.Failure != nil {
		return s.value.Backup.Failure.Text
	}
	return "the connection to " + d.api.server.Host + " was lost: " + reason(err)
}

// reader keeps the error of what it reads, to tell it from one of what it is written to.
type reader struct {
	from io.Reader
	err  error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// written says in the words of this program that a file can't be written.
func written(err error) error {
	var path *fs.PathError
	if errors.Is(err, fs.ErrExist) && errors.As(err, &path) {
		return fail(zbus.ErrExists, "%s exists already, and is not replaced", path.Path)
	}
	return err
}

// progress shows a person how far a copy is. For others it is nil.
func (i *invocation) progress() func(done, all int64) {
	if !isTerminal(i.err) {
		return nil
	}
	last := time.Now()
	return func(done, all int64) {
		if now := time.Now(); done == all || now.Sub(last) >= 200*time.Millisecond {
			last = now
			fmt.Fprintf(i.err, "\r%s of %s", size(decimal(done)), size(decimal(all)))
			if done == all {
				fmt.Fprint(i.err, "; checking\n")
			}
		}
	}
}

// backupResult is the result of a backup with --json.
type backupResult struct {
	Source string        `json:"source"`
	Target string        `json:"target"`
	Bytes  int64         `json:"bytes"`
	Took   int64         `json:"took"` // milliseconds
	Check  sqlite.Report `json:"check"`
}

func (i *invocation) printBackup(r sqlite.Report, from, to string, bytes int64, took time.Duration) error {
	r.Path = to
	if i.json {
		if err := i.printJSON(backupResult{from, to, bytes, took.Milliseconds(), r}); err != nil {
			return err
		}
	} else {
		checked := "checked"
		if len(r.Topics) == 0 && r.Messages == 0 && r.Sound() && r.Schema == 0 {
			checked = "not checked: it was made by another version"
		}
		fmt.Fprintf(i.out, "%s: %s with %s in %s, %s\n", to, size(decimal(bytes)),
			counted(decimal(r.Messages), "message", "messages"), counted(decimal(int64(len(r.Topics))), "topic", "topics"), checked)
	}
	return i.findings(&r)
}

// findings says what a check has found, which is an error.
func (i *invocation) findings(r *sqlite.Report) error {
	if r.Sound() {
		return nil
	}
	for n := range r.Findings {
		i.say("%s", r.Findings[n].String())
	}
	if r.More > 0 {
		i.say("and %s more", number(r.More))
	}
	return fail(ErrData, "%s is complete and has the damage that the database has; see zbus recover for a database without it", r.Path)
}

// lastBackup tells of the last backup in a line.
func (i *invocation) lastBackup(b *apimodel.Backups) string {
	switch {
	case b == nil:
		return ""
	case b.Failure != nil:
		return "failed at " + i.when(b.Failure.Time) + ": " + oneLine(b.Failure.Text, 100)
	case b.Last == nil:
		return "none"
	}
	text := i.when(b.Last.Time) + ", " + millis(time.Since(b.Last.Time).Milliseconds()) + " ago, " + size(b.Last.Bytes)
	if b.Last.Findings > 0 {
		text += fmt.Sprintf(", with %d findings", b.Last.Findings)
	} else if b.Last.Checked != nil {
		text += ", checked"
	}
	if b.Schedule == nil || b.Last.Checked == nil {
		return text + ", by " + b.Last.Target
	}
	return text + ", " + b.Last.Target
}

// decimal is a number as the API writes it.
func decimal(n int64) apimodel.Count { return apimodel.Count(fmt.Sprint(n)) }

func (a *app) restoreCommand() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use: "restore BACKUP", Short: "Create a data directory from a backup", Args: wants("BACKUP"),
		Long: "Create a data directory from a backup, for a broker to be started there. The directory may exist,\n" +
			"but a database in it is never replaced. The backup is checked first, and stays as it is.\n" +
			"Groups continue where they were when the backup was taken: what was consumed since then\n" +
			"comes again, and what was published since then is not there.",
		Example: "  zbus restore /mnt/backups/monday.db --data /var/lib/zbus",
		RunE: a.run(func(ctx context.Context, i *invocation) error {
			if data == "" {
				return usage("restore: say where to: --data DIR")
			}
			r, err := backup.Restore(ctx, i.args[0], data)
			if err != nil {
				return notRestored(err)
			}
			if i.json {
				return i.printJSON(backupResult{Source: i.args[0], Target: data, Bytes: r.Bytes, Check: r})
			}
			fmt.Fprintf(i.out, "%s: %s in %s, checked; start the broker with --data %s\n", data,
				counted(decimal(r.Messages), "message", "messages"), counted(decimal(int64(len(r.Topics))), "topic", "topics"), data)
			return nil
		}),
	}
	cmd.Flags().StringVar(&data, "data", "", "the `DIR`ectory, created when missing")
	return a.shows(cmd)
}

// notRestored says why a backup was not restored.
func notRestored(err error) error {
	var path *fs.PathError
	switch {
	case errors.Is(err, fs.ErrExist) && errors.As(err, &path):
		return fail(zbus.ErrExists, "%s exists already, and is never replaced; use another directory, or move it away", path.Path)
	case errors.Is(err, fs.ErrNotExist):
		return fail(ErrNoInput, "%v", err)
	}
	return err
}
