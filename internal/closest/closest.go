// Package closest finds the name that was meant by a misspelt one. All that
// refuses a word and knows which ones there are uses it: settings, flags, commands,
// members of JSON and actions of the API.
package closest

import (
	"fmt"
	"strings"
)

// To returns the name with the fewest edits from the given one, the first of several;
// "" when there are no names.
func To(given string, names []string) string {
	best, least := "", -1
	for _, name := range names {
		if d := distance(given, name); least < 0 || d < least {
			best, least = name, d
		}
	}
	return best
}

// Hint is what the refusal of a word ends with: " (did you mean NAME?)", NAME in the
// given format, or "" when no name is so much like the word that it was meant. Case
// does not count. Words may be of any length.
func Hint(given, format string, names []string) string {
	if len(given) > maxWord {
		return ""
	}
	given = strings.ToLower(given)
	best, least := "", -1
	for _, name := range names {
		lower := strings.ToLower(name)
		if d := distance(given, lower); isLike(given, lower) && (least < 0 || d < least) {
			best, least = name, d
		}
	}
	if least < 0 {
		return ""
	}
	return fmt.Sprintf(" (did you mean "+format+"?)", best)
}

const (
	maxEdits  = 2  // two letters that changed places are two
	minPrefix = 3  // of a word that was cut short, or is longer
	maxWord   = 64 // bytes; what is longer was not meant for a name, and would cost time
)

// isLike reports whether a is b with a slip or two, or one begins with the other.
func isLike(a, b string) bool {
	shorter, longer := a, b
	if len(shorter) > len(longer) {
		shorter, longer = longer, shorter
	}
	if len(shorter) >= minPrefix && strings.HasPrefix(longer, shorter) {
		return true
	}
	return distance(a, b) <= min(maxEdits, len(shorter)-1)
}

// distance is the number of bytes to insert, remove or replace to get from a
// to b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
