package cli

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/rushmore/zbus-go/internal/apimodel"
	"github.com/rushmore/zbus-go/internal/bytesize"
)

// count writes a number of the API with its thousands apart.
func count(n apimodel.Count) string {
	start := len(n) % 3
	var parts []string
	if start > 0 {
		parts = append(parts, n[:start])
	}
	for ; start < len(n); start += 3 {
		parts = append(parts, n[start:start+3])
	}
	return strings.Join(parts, ",")
}

// number writes a number with its thousands apart.
func number[N int | int64](n N) string {
	if n < 0 {
		return "-" + number(-n)
	}
	return count(strconv.FormatInt(int64(n), 10))
}

// counted writes how many of something there are.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its many callers.
//
//go:noinline
func counted(n apimodel.Count, one, many string) string {
	if n == "1" {
		return "1 " + one
	}
	return count(n) + " " + many
}

// value of a number of the API; what does not fit is the largest there is.
//
// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func value(n apimodel.Count) int64 {
	v, _ := strconv.ParseInt(n, 10, 64) // saturates
	return v
}

// It is not inlined: that would add some hundred bytes to the binary for each of its callers.
//
//go:noinline
func format(n int64) apimodel.Count { return strconv.FormatInt(n, 10) }

// size writes a number of bytes.
func size(n apimodel.Count) string {
	v := value(n)
	if v < 1<<10 {
		return fmt.Sprintf("%d B", v)
	}
	f := float64(v)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if f /= 1 << 10; f < 1<<10 {
			return fmt.Sprintf("%.1f %s", f, unit)
		}
	}
	return fmt.Sprintf("%.1f TiB", f/(1<<10))
}

// rate writes a number a second.
func rate(perSecond float64) string {
	switch {
	case perSecond == 0:
		return "0"
	case perSecond < 10:
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return number(int64(perSecond + .5))
}

// millis writes a duration that is in milliseconds, in its two largest units.
func millis(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d < time.Second:
		return fmt.Sprintf("%dms", ms)
	case d < time.Minute:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + "s"
	case d < time.Hour:
		return units(int64(d/time.Minute), "m", int64(d/time.Second)%60, "s")
	case d < 24*time.Hour:
		return units(int64(d/time.Hour), "h", int64(d/time.Minute)%60, "m")
	}
	return units(int64(d/(24*time.Hour)), "d", int64(d/time.Hour)%24, "h")
}

func units(large int64, unit string, small int64, smaller string) string {
	if small == 0 {
		return fmt.Sprintf("%d%s", large, unit)
	}
	return fmt.Sprintf("%d%s%d%s", large, unit, small, smaller)
}

const timeFormat = "2006-01-02 15:04:05.000"

// when writes a time.
func (a *app) when(t time.Time) string {
	switch {
	case t.IsZero():
		return ""
	case a.utc:
		return t.UTC().Format(timeFormat) + "Z"
	}
	return t.Local().Format(timeFormat)
}

func (a *app) whenever(t *time.Time) string {
	if t == nil {
		return ""
	}
	return a.when(*t)
}

var dayPattern = regexp.MustCompile(`^([0-9]+)d(.*)$`)

// parseSize reads a number of bytes, such as 64MiB.
func parseSize(flag, text string) (apimodel.Count, error) {
	n, ok := bytesize.Parse(text)
	if !ok {
		return "", usage("--%s %q: must be a size such as 64MiB or 10GB, or 0 for no limit", flag, text)
	}
	return format(n), nil
}

// parseCount reads a number of messages, such as 10_000.
func parseCount(flag, text string) (apimodel.Count, error) {
	n, err := strconv.ParseInt(strings.NewReplacer(",", "", "_", "").Replace(text), 10, 64)
	if err != nil || n < 0 {
		return "", usage("--%s %q: must be a number of messages", flag, text)
	}
	return format(n), nil
}

// parseDuration reads a duration, which may be in days: 90s, 12h, 7d, 1d12h.
func parseDuration(text string) (time.Duration, error) {
	var days time.Duration
	if m := dayPattern.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseInt(m[1], 10, 32)
		if err != nil || n > 100_000 {
			return 0, fmt.Errorf("duration %q is too long", text)
		}
		days = time.Duration(n) * 24 * time.Hour
		if text = m[2]; text == "" {
			return days, nil
		}
	}
	if text == "0" {
		return days, nil
	}
	d, err := time.ParseDuration(text)
	return days + d, err
}

// duration is a flag that is a duration, which may be in days. It is not negative.
type duration struct {
	time.Duration
}

// Set reads the value.
func (d *duration) Set(text string) error {
	v, err := parseDuration(text)
	if err != nil || v < 0 {
		return fmt.Errorf("must be a duration such as 500ms, 90s, 12h or 7d")
	}
	d.Duration = v
	return nil
}

// String is the value, empty when there is none.
func (d *duration) String() string {
	if d.Duration == 0 {
		return ""
	}
	return d.Duration.String()
}

// Type is what help writes behind the flag's name.
func (d *duration) Type() string { return "DURATION" }
