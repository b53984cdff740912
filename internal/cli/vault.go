package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// vault is where the token of a context is kept: "" is the file of contexts, keyring that of the
// system, anything else a credential helper, which is a program that keeps tokens.
type vault string

const keyring vault = "keyring"

// vaultTime is how long a vault may take: a person may have to unlock it.
const vaultTime = time.Minute

// maxKept is how long what a vault says may be.
const maxKept = 64 << 10

// kept is what a credential helper reads, as one line of JSON, and of which it answers get with Token.
type kept struct {
	Context string `json:"context"`
	Server  string `json:"server"` // host and port
	Token   string `json:"token,omitempty"`
}

// String names it for people.
func (v vault) String() string {
	if v == keyring {
		return "the keyring of the system"
	}
	return string(v)
}

// thisKeyring is the keyring of the system, if there is one; otherwise "".
func thisKeyring() vault {
	tool := keyringTool()
	if _, err := exec.LookPath(tool); tool == "" || err != nil {
		return ""
	}
	if runtime.GOOS == "darwin" || os.Getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return keyring
	}
	dir := os.Getenv("XDG_RUNTIME_DIR")
	if _, err := os.Stat(filepath.Join(dir, "bus")); dir == "" || err != nil {
		return ""
	}
	return keyring
}

// keyringTool is the program that opens the keyring of the system; "": there is none.
func keyringTool() string {
	switch runtime.GOOS {
	case "darwin":
		return "security"
	case "windows":
		return ""
	}
	return "secret-tool"
}

// get is the token that is kept for a context; "" if there is none.
func (v vault) get(ctx context.Context, k kept) (token string, err error) {
	switch {
	case v == "":
		return "", nil
	case v != keyring:
		out, err := v.help(ctx, "get", k)
		if err != nil || len(out) == 0 {
			return "", err
		}
		var answer kept
		if err := json.Unmarshal(out, &answer); err != nil {
			return "", fail(ErrData, "%s get: what it printed is no JSON", v)
		}
		return answer.Token, nil
	}
	out, err := v.run(ctx, "", keyringTool(), k.arguments("lookup", "find-generic-password", "-w")...)
	if missing(err) {
		return "", nil
	}
	return strings.TrimSpace(string(out)), err
}

// store keeps a token, in place of the one before. It goes to the program over standard input: others
// can see its arguments.
func (v vault) store(ctx context.Context, k kept) (err error) {
	switch {
	case v == "":
	case v != keyring:
		_, err = v.help(ctx, "store", k)
	case keyringTool() == "security":
		if strings.ContainsAny(k.Context+k.Token, " \t\r\n\"'\\") {
			return fail(ErrData, "the token has characters that %s does not take", v)
		}
		line := fmt.Sprintf("add-generic-password -U -s zbus -a %s -w %s\n", k.Context, k.Token)
		_, err = v.run(ctx, line, "security", "-i")
	default:
		args := append([]string{"store", "--label=zbus " + k.Context}, k.arguments("", "")[1:]...)
		_, err = v.run(ctx, k.Token, keyringTool(), args...)
	}
	return err
}

// erase forgets the token of a context.
func (v vault) erase(ctx context.Context, k kept) (err error) {
	switch v {
	case "":
		return nil
	case keyring:
		if _, err = v.run(ctx, "", keyringTool(), k.arguments("clear", "delete-generic-password")...); missing(err) {
			return nil
		}
	default:
		_, err = v.help(ctx, "erase", k)
	}
	return err
}

// arguments are those of secret-tool or of security, with their verbs.
func (k kept) arguments(secretTool, security string, more ...string) []string {
	if keyringTool() == "security" {
		return append([]string{security, "-s", "zbus", "-a", k.Context}, more...)
	}
	return []string{secretTool, "service", "zbus", "context", k.Context}
}

// help asks a credential helper.
func (v vault) help(ctx context.Context, verb string, k kept) ([]byte, error) {
	line, err := json.Marshal(k)
	if err != nil {
		return nil, err
	}
	out, err := v.run(ctx, string(line)+"\n", string(v), verb)
	return bytes.TrimSpace(out), err
}

// failedVault is why a program of a vault failed.
type failedVault struct {
	text string
	code int // its exit code
	said bool
}

func (e *failedVault) Error() string { return e.text }

// missing reports whether the keyring says that it has no such token. secret-tool says nothing then,
// and security has a code for it.
func missing(err error) bool {
	f := (*failedVault)(nil)
	return errors.As(err, &f) && (f.code == 1 && !f.said || f.code == 44)
}

// run runs a program of a vault. It gets what it needs over standard input, and no token of the
// environment.
func (v vault) run(ctx context.Context, in, program string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, vaultTime)
	defer cancel()
	out, problems := limited{limit: maxKept, over: cancel}, limited{limit: maxComplaint}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "ZBUS_TOKEN=") })
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &problems
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if err == nil {
		return out.kept.Bytes(), nil
	}
	text := strings.TrimSpace(problems.kept.String())
	if ctx.Err() != nil {
		err = fmt.Errorf("it took longer than %s, or printed too much", vaultTime)
	}
	f := &failedVault{text: strings.TrimSuffix(fmt.Sprintf("%s: %v: %s", program, err, oneLine(text, 200)), ": "), code: -1, said: text != ""}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		f.code = exit.ExitCode()
	}
	return nil, f
}
