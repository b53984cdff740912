package metrics

import (
	"bufio"
	"strconv"
	"strings"
)

// kind is the type of a family of series.
type kind string

// The kinds.
const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
	summary   kind = "summary"
)

// contentType is that of the text format of Prometheus.
const contentType = "text/plain; version=0.0.4; charset=utf-8"

// text writes series in the text format of Prometheus. An error stays: Flush says what went
// wrong.
type text struct{ *bufio.Writer }

// head is what stands before the values of a family. The help has no line feed and no backslash.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func (w text) head(name string, k kind, help string) {
	for _, part := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " ", string(k), "\n"} {
		_, _ = w.WriteString(part)
	}
}

// value writes one series. Its labels are as labels makes them; "" is none.
func (w text) value(name, labels string, value float64) {
	var digits [32]byte
	_, _ = w.WriteString(name)
	_, _ = w.WriteString(labels)
	_ = w.WriteByte(' ')
	_, _ = w.Write(append(strconv.AppendFloat(digits[:0], value, 'g', -1, 64), '\n'))
}

// single writes a family that has one series, without labels.
func (w text) single(name string, k kind, help string, value float64) {
	w.head(name, k, help)
	w.value(name, "", value)
}

// labels are names and values in turn, as they are written.
func labels(pairs ...string) string {
	var b strings.Builder
	for i := 0; i < len(pairs); i += 2 {
		separator := ","
		if i == 0 {
			separator = "{"
		}
		b.WriteString(separator + pairs[i] + `="` + escape(pairs[i+1]) + `"`)
	}
	b.WriteByte('}')
	return b.String()
}

// escape writes a text as the value of a label.
func escape(name string) string {
	if !strings.ContainsAny(name, "\\\"\n") {
		return name
	}
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(name)
}
