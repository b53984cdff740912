package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/config"
	"github.com/rushmore/zbus-go/internal/daemon"
	"github.com/rushmore/zbus-go/internal/datadir"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/sqlite"
)

// verifyCommand is the verb that checks what is stored.
func verifyCommand() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify [BACKUP]",
		Short: "Check the data of a stopped broker, or a backup",
		Long: "Check everything in the data directory of a stopped broker, or in a backup: the\n" +
			"structure of the file, the checksum of every message, that offsets follow one\n" +
			"another, and that groups are within their topics' logs. It changes nothing.\n\n" +
			"It exits with 0 if all is well, 65 if something is damaged, and 73 if a broker\n" +
			"runs in the directory.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.Flags().Changed("data") {
				return usageError{errors.New("verify: give a backup or --data, not both")}
			}
			path := daemon.Database(data)
			if len(args) > 0 {
				path = args[0]
			} else {
				dir, err := datadir.Hold(data)
				if err != nil {
					return err
				}
				defer dir.Close()
			}
			return verify(cmd, path, asJSON)
		},
	}
	cmd.Flags().StringVar(&data, "data", config.Default().Data, "the data directory")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON object")
	return cmd
}

func verify(cmd *cobra.Command, path string, asJSON bool) error {
	if info, err := os.Stat(path); err != nil {
		return err
	} else if info.IsDir() {
		return usageError{&fs.PathError{Op: "verify", Path: path, Err: errors.New("is a directory: name it with --data, or the backup in it")}}
	}
	report, err := sqlite.Verify(cmd.Context(), path, sqlite.VerifyOptions{})
	if err != nil {
		return err
	}
	if asJSON {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(report)
	} else {
		err = writeReport(cmd.OutOrStdout(), &report)
	}
	if err == nil && !report.Sound() {
		err = fmt.Errorf("%s: %d findings: %w; zbus recover saves what is intact into a new directory", path, int64(len(report.Findings))+report.More, storage.ErrDamaged)
	}
	return err
}

// writeReport writes a report for people: a line a finding, then one a topic, then the
// sum.
func writeReport(w io.Writer, r *sqlite.Report) error {
	for _, f := range r.Findings {
		if _, err := fmt.Fprintln(w, f.String()); err != nil {
			return err
		}
	}
	if r.More > 0 {
		if _, err := fmt.Fprintf(w, "and %d more\n", r.More); err != nil {
			return err
		}
	}
	for _, t := range r.Topics {
		if _, err := fmt.Fprintf(w, "topic %s: %d messages from %d to %d, %d damaged, %d groups\n", t.Name, t.Messages, t.First, t.Next, t.Damaged, t.Groups); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "%d topics, %d messages with %d bytes, %d damaged\n", len(r.Topics), r.Messages, r.Bytes, r.Damaged)
	return err
}
