package cli

import (
	"fmt"
	"sort"
	"strings"

	"github.com/spf13/cobra"
)

// exitCodesTopic is a page of help, and of the manual.
func exitCodesTopic() *cobra.Command {
	var b strings.Builder
	// The manual keeps lines apart that have four spaces in front.
	b.WriteString("Scripts can rely on these exit codes, most of which are those of sysexits.h.\n\nOf all commands:\n\n      0  done; for -f and serve-rpc also when they were interrupted\n")
	rows := ExitCodes()
	sort.Slice(rows, func(i, j int) bool { return rows[i].Code < rows[j].Code })
	for _, row := range rows {
		fmt.Fprintf(&b, "    %3d  %s\n", row.Code, row.Means)
	}
	b.WriteString("\nWith --json an error is an object on one line of standard error, with the members error,\n" +
		"exitCode and message.\n")
	b.WriteString("\nOf zbus serve: 64 wrong settings, 65 damaged data, 69 can't listen, 73 the data directory is\n" +
		"in use, 74 the disk failed or is full, 77 not allowed to use a directory, file or port,\n" +
		"130 a second signal cut the orderly stop short.\n\n" +
		"70 is a fault in zbus or in the broker. When the reader of standard output goes away, as\n" +
		"head does, a command ends with 0.")
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: b.String()}
}

// serversTopic is a page of help, and of the manual.
func serversTopic() *cobra.Command {
	return &cobra.Command{
		Use: "servers", Short: "How a command finds its broker",
		Long: "A command finds its broker by --server, else by ZBUS_SERVER, else by the saved context\n" +
			"that is in use or that --context or ZBUS_CONTEXT name, else at " + DefaultServer + ".\n\n" +
			"One address is enough, as the broker has one port for everything: HOST:PORT, HOST for\n" +
			"port " + defaultPort + ", or a URL: http:// and zbus:// are the same as none, https:// and zbuss://\n" +
			"encrypt, ws:// and wss:// use a WebSocket where the native protocol can't pass.\n\n" +
			"The token is that in the file of --token-file, else ZBUS_TOKEN, else that of the context (see\n" +
			"zbus login); a context's token is sent to that context's server alone. --tls-ca trusts the\n" +
			"certificates of a file, --tls-insecure all of them. With --tls-cert a client certificate says\n" +
			"who you are, unless --token-file or ZBUS_TOKEN does.",
	}
}
