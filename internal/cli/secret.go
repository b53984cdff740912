package cli

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// askLine asks a person for something.
func (i *invocation) askLine(ctx context.Context, question string) (string, error) {
	return i.ask(ctx, question, func(f *os.File) (string, error) {
		text, err := bufio.NewReader(f).ReadString('\n')
		return strings.TrimSpace(text), err
	})
}

// askSecret asks a person for something that is not shown while it is typed.
func (i *invocation) askSecret(ctx context.Context, question string) (string, error) {
	return i.ask(ctx, question, func(f *os.File) (string, error) {
		text, err := term.ReadPassword(int(f.Fd()))
		i.say("")
		return string(text), err
	})
}

// ask lets read take the answer to a question from a terminal, which is as before when ctx
// ends first.
func (i *invocation) ask(ctx context.Context, question string, read func(*os.File) (string, error)) (string, error) {
	f, ok := i.in.(*os.File)
	if !ok || !isTerminal(f) {
		return "", usage("%s: no user can be asked; use the flags, see --help", strings.ToLower(question))
	}
	fmt.Fprintf(i.err, "%s: ", question)
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", err
	}
	type answer struct {
		text string
		err  error
	}
	typed := make(chan answer, 1) // so that no goroutine waits when Ctrl-C is the answer
	go func() {
		text, err := read(f)
		typed <- answer{text, err}
	}()
	select {
	case a := <-typed:
		return a.text, a.err
	case <-ctx.Done():
		i.say("")
		_ = term.Restore(int(f.Fd()), before) // the process ends
		return "", ErrInterrupted
	}
}

// secretLines reads the lines of standard input.
func (i *invocation) secretLines(ctx context.Context, what string, most int) ([]string, error) {
	text, err := readAll(ctx, i.in)
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
	if len(lines) > most || lines[0] == "" {
		return nil, fail(ErrData, "standard input: must be the %s", what)
	}
	return lines, nil
}

// newPassword is a password to be set: from standard input, or asked for twice.
func (i *invocation) newPassword(ctx context.Context, stdin bool) (string, error) {
	if stdin {
		lines, err := i.secretLines(ctx, "password alone, in one line", 1)
		if err != nil {
			return "", err
		}
		return lines[0], nil
	}
	if !isTerminal(i.in) {
		return "", usage("the password is missing; where no user can be asked it comes by --password-stdin")
	}
	first, err := i.askSecret(ctx, "Password")
	if err != nil {
		return "", err
	}
	again, err := i.askSecret(ctx, "Password again")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", usage("the passwords differ; nothing was done")
	}
	return first, nil
}
