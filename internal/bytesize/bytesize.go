// Package bytesize reads sizes as people write them.
package bytesize

import (
	"math"
	"strconv"
	"strings"
)

// units are the suffixes of a size; those of powers of 1024 come first and are the ones that
// Format writes. A letter alone is such a power, as in most programs.
var units = []struct {
	suffix string
	bytes  int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"Ti", 1 << 40},
	{"Gi", 1 << 30},
	{"Mi", 1 << 20},
	{"Ki", 1 << 10},
	{"T", 1 << 40},
	{"G", 1 << 30},
	{"M", 1 << 20},
	{"K", 1 << 10},
	{"B", 1},
	{"", 1},
}

// Parse reads a whole number of bytes or of a unit, such as 64MiB or 10 GB. GB are powers of 1000,
// GiB, Gi and G of 1024; case does not matter. It reports false for what is no size, and for one that is too
// large for an int64.
func Parse(s string) (n int64, ok bool) {
	for _, u := range units {
		head := len(s) - len(u.suffix)
		if head < 0 || !strings.EqualFold(s[head:], u.suffix) {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimRight(s[:head], " "), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			return 0, false
		}
		return int64(n) * u.bytes, true
	}
	return 0, false
}

// Format writes n so that Parse reads the same number.
func Format(n int64) string {
	for _, u := range units[:4] {
		if n >= u.bytes && n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}
