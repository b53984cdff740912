package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/rushmore/zbus-go/internal/cli"
	"github.com/rushmore/zbus-go/internal/storage"
	"github.com/rushmore/zbus-go/internal/storage/postgres"
)

// storeCommand is the verb for databases that brokers keep everything in.
func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Look at a database that a broker keeps everything in",
		Args:  noArguments,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var asJSON bool
	check := &cobra.Command{
		Use:   "check [URL]",
		Short: "Say what is wrong with a PostgreSQL database for a broker, and how to put it right",
		Long: "Look at a PostgreSQL database and its server as zbus serve --store URL would find\n" +
			"them: version, encryption, permissions, durability, standbys, limits, timeouts,\n" +
			"schema, and which broker has it. It changes nothing. Without a URL it is that of\n" +
			"ZBUS_STORE. A password is better in libpq's password file than in the URL.\n\n" +
			"It exits with 0 if a broker can use the database, with warnings too, and 1 if not.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			url := os.Getenv("ZBUS_STORE")
			if len(args) > 0 {
				url = args[0]
			}
			if url == "" {
				return usageError{errors.New("store check: give the URL of a database, such as postgres://zbus@db1,db2/zbus")}
			}
			return checkStore(cmd, url, asJSON)
		},
	}
	check.Flags().BoolVar(&asJSON, "json", false, "print the result as one JSON array")
	cmd.AddCommand(check)
	return cmd
}

func checkStore(cmd *cobra.Command, url string, asJSON bool) error {
	found, err := postgres.Check(cmd.Context(), url)
	if errors.Is(err, storage.ErrInvalid) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	w := cmd.OutOrStdout()
	if asJSON {
		err = json.NewEncoder(w).Encode(found)
	} else {
		err = writeFindings(cmd, found)
	}
	if n := postgres.Wrong(found); err == nil && n > 0 {
		err = fmt.Errorf("%w: a broker can't rely on this database: %d of %d findings are wrong", cli.ErrAnswer, n, len(found))
	}
	return err
}

// writeFindings writes findings for people: a line for each, and one for what to do about it.
func writeFindings(cmd *cobra.Command, found []postgres.Finding) error {
	w := cmd.OutOrStdout()
	for _, f := range found {
		if _, err := fmt.Fprintf(w, "%-8s %s: %s\n", f.Grade, f.Name, f.Text); err != nil {
			return err
		}
		if f.Fix == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-8s   to put it right: %s\n", "", f.Fix); err != nil {
			return err
		}
	}
	return nil
}
