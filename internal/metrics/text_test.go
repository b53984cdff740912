package metrics

import (
	"bufio"
	"math"
	"strings"
	"testing"
)

func TestSeriesAreWrittenAsPrometheusReadsThem(t *testing.T) {
	var b strings.Builder
	w := text{bufio.NewWriter(&b)}
	w.head("a_total", counter, "What there is.")
	w.value("a_total", labels("name", "a\\b\"c\nd", "other", "é"), 0.5)
	w.value("a_total", labels("name", ""), math.Inf(1))
	w.single("b", gauge, "Another.", math.NaN())
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	want := `# HELP a_total What there is.
# TYPE a_total counter
a_total{name="a\\b\"c\nd",other="é"} 0.5
a_total{name=""} +Inf
# HELP b Another.
# TYPE b gauge
b NaN
`
	if b.String() != want {
		t.Errorf("got\n%s", b.String())
	}
}
