package wire

// maxName is the length limit of a header name in bytes.
const maxName = 64

// lowerToken maps every byte that a token may hold (RFC 9110, 5.6.2) to its
// lower-case form, and all other bytes to 0.
var lowerToken = [256]byte{
	'!': '!', '#': '#', '$': '$', '%': '%', '&': '&', '\'': '\'', '*': '*', '+': '+',
	'-': '-', '.': '.', '^': '^', '_': '_', '`': '`', '|': '|', '~': '~',
	'0': '0', '1': '1', '2': '2', '3': '3', '4': '4', '5': '5', '6': '6', '7': '7', '8': '8', '9': '9',
	'a': 'a', 'b': 'b', 'c': 'c', 'd': 'd', 'e': 'e', 'f': 'f', 'g': 'g', 'h': 'h', 'i': 'i',
	'j': 'j', 'k': 'k', 'l': 'l', 'm': 'm', 'n': 'n', 'o': 'o', 'p': 'p', 'q': 'q', 'r': 'r',
	's': 's', 't': 't', 'u': 'u', 'v': 'v', 'w': 'w', 'x': 'x', 'y': 'y', 'z': 'z',
	'A': 'a', 'B': 'b', 'C': 'c', 'D': 'd', 'E': 'e', 'F': 'f', 'G': 'g', 'H': 'h', 'I': 'i',
	'J': 'j', 'K': 'k', 'L': 'l', 'M': 'm', 'N': 'n', 'O': 'o', 'P': 'p', 'Q': 'q', 'R': 'r',
	'S': 's', 'T': 't', 'U': 'u', 'V': 'v', 'W': 'w', 'X': 'x', 'Y': 'y', 'Z': 'z',
}

// text is what the checks below work on: bytes as they arrive, strings as they leave.
type text interface{ ~string | ~[]byte }

// ValidName reports whether s may be a header name: a token of 1 to 64 bytes,
// in any case.
func ValidName(s string) bool {
	n, _ := scanToken(s)
	return n > 0 && n == len(s) && n <= maxName
}

// ValidValue reports whether s may be a header value: no control characters
// except the tab. Bytes from 0x80 up are allowed, valid UTF-8 or not.
func ValidValue(s string) bool { return noControls(s) }

// scanToken returns how many bytes at the start of s belong to a token, and
// whether any of them is an upper-case letter.
func scanToken[T text](s T) (n int, upper bool) {
	changed := byte(0)
	for n < len(s) {
		c := lowerToken[s[n]]
		if c == 0 {
			break
		}
		changed |= c ^ s[n]
		n++
	}
	return n, changed != 0
}

// foldEqual compares a token with a name in lower case.
func foldEqual[T text](s T, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(lower) {
		if lowerToken[s[i]] != lower[i] {
			return false
		}
	}
	return true
}

// framing reports whether name is one of the two headers that say where a
// message ends. They belong to the codec alone.
func framing[T text](name T) bool {
	return foldEqual(name, HeaderContentLength) || foldEqual(name, HeaderTransferEncoding)
}

// noControls looks at eight bytes at a time. A word that holds anything below
// 0x20 or a 0x7f is looked at again, because a tab is fine.
func noControls[T text](s T) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		b := s[i : i+8]
		x := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		del := x ^ ones*0x7f
		low := (x - ones*0x20) &^ x
		if (low|(del-ones)&^del)&highs != 0 && hasControl(b) {
			return false
		}
	}
	return !hasControl(s[i:])
}

func hasControl[T text](s T) bool {
	for i := range len(s) {
		if isControl(s[i]) {
			return true
		}
	}
	return false
}

func isControl(c byte) bool { return c < ' ' && c != '\t' || c == 0x7f }

func validMethod[T text](s T) bool {
	n, _ := scanToken(s)
	return n > 0 && n == len(s) && !startsLikeResponse(s)
}

func validTarget[T text](s T) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return false
		}
	}
	return len(s) > 0
}

// startsLikeResponse reports whether a start line is a status line: its first
// four bytes are HTTP, in any case.
func startsLikeResponse[T text](s T) bool {
	return len(s) >= 4 && foldEqual(s[:4], "http")
}
