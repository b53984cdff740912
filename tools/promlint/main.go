// Command promlint reads a text of metrics as Prometheus does, and says what its linter finds.
//
//	curl -s http://127.0.0.1:15555/metrics | go -C tools run ./promlint
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = lint(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "promlint:", err)
		os.Exit(1)
	}
}

func lint(text []byte) error {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if len(families) == 0 {
		return errors.New("there are no metrics")
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err == nil && len(problems) > 0 {
		err = fmt.Errorf("%v", problems)
	}
	return err
}
