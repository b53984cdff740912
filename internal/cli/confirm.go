package cli

import (
	"bufio"
	"context"
	"fmt"
	"strings"
)

// confirm asks whether to do what was said, unless --yes did. Without a person to ask
// it refuses.
func (i *invocation) confirm(ctx context.Context, consequence, question string) error {
	if i.yes {
		return nil
	}
	if !isTerminal(i.in) {
		return usage("%s; add --yes to do it where no user can be asked", consequence)
	}
	if consequence != "" {
		i.say("%s.", upperFirst(consequence))
	}
	fmt.Fprintf(i.err, "%s [y/N] ", question)
	typed := make(chan string, 1) // so that no goroutine waits when Ctrl-C is the answer
	go func() {
		text, _ := bufio.NewReader(i.in).ReadString('\n') // the end of the input is a no
		typed <- text
	}()
	var answer string
	select {
	case answer = <-typed:
	case <-ctx.Done():
		i.say("")
		return ErrInterrupted
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fail(ErrDeclined, "nothing was done")
}

func upperFirst(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
