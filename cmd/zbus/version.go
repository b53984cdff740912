package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is written by the linker (-X main.release=v1.2.3) and by nobody else.
var release string

// version is the release, or what the Go tools know about this build.
func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the versions of zbus, Go and SQLite",
		Args:  noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lite, err := sqliteVersion(cmd)
			if err != nil {
				return fmt.Errorf("version of SQLite: %w", err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{
					"zbus": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH, "sqlite": lite,
				})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "zbus %s\n%s %s/%s\nSQLite %s\n",
				version(), runtime.Version(), runtime.GOOS, runtime.GOARCH, lite)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print them as one object of JSON")
	return cmd
}

func sqliteVersion(cmd *cobra.Command) (v string, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return "", err
	}
	defer db.Close()
	err = db.QueryRowContext(cmd.Context(), "SELECT sqlite_version()").Scan(&v)
	return v, err
}
