package wire

import (
	"strconv"
	"strings"
)

// AppendOffsets writes offsets, which rise, as a list of them and of ranges: 3,5-9.
func AppendOffsets(dst []byte, offsets []int64) []byte {
	for i := 0; i < len(offsets); i++ {
		if i > 0 {
			dst = append(dst, ',')
		}
		first := offsets[i]
		dst = strconv.AppendInt(dst, first, 10)
		for i+1 < len(offsets) && offsets[i+1] == offsets[i]+1 {
			i++
		}
		if last := offsets[i]; last > first {
			dst = append(dst, '-')
			dst = strconv.AppendInt(dst, last, 10)
		}
	}
	return dst
}

// ParseOffsets reads such a list. It reports false for what is none, and for more than most.
func ParseOffsets(text string, most int) (offsets []int64, ok bool) {
	least := int64(0)
	for part := range strings.SplitSeq(text, ",") {
		from, to, several := strings.Cut(part, "-")
		first, err := strconv.ParseInt(from, 10, 64)
		last := first
		if several && err == nil {
			last, err = strconv.ParseInt(to, 10, 64)
		}
		if err != nil || first < least || last < first || last-first >= int64(most-len(offsets)) {
			return nil, false
		}
		for offset := first; ; offset++ {
			if offsets = append(offsets, offset); offset == last {
				break
			}
		}
		if least = last + 1; least < last {
			return nil, false // the largest number there is
		}
	}
	return offsets, true
}
