package api

import (
	"strings"

	"github.com/rushmore/zbus-go/internal/broker"
	"github.com/rushmore/zbus-go/internal/problem"
)

// anyVersion is the version, to the broker, of a change that is made whatever the
// version is. Only a request that says so or nothing may come to it.
const anyVersion = ""

// etag quotes a version. The one that is quoted in If-Match is what a client saw.
func etag(version string) string { return `"` + version + `"` }

// ifMatch reads the version that a change is meant for. now is the one that there is:
// when the request names several, that one is looked for among them, and the broker
// makes sure that it still is the one.
func ifMatch(v *IfMatch, now string) (version string, err error) {
	if v == nil || strings.TrimSpace(*v) == "*" {
		return anyVersion, nil
	}
	tags, weak, ok := entityTags(*v)
	switch {
	case !ok:
		return "", problem.Invalid("If-Match %q: must be *, or ETags as they were given: in quotes, with commas between", broker.Excerpt(*v))
	case len(tags) == 0 && weak:
		return "", &broker.Error{Code: broker.Stale, Text: "If-Match has only weak ETags, which never match: give it without W/"}
	}
	for _, tag := range tags {
		if tag == now {
			return now, nil
		}
	}
	return tags[0], nil
}

// entityTags reads a list of ETags (RFC 9110, section 8.8.3): the strong ones, without
// their quotes, and whether there are weak ones. It is not ok when there is none, or
// an empty one.
func entityTags(list string) (strong []string, weak, ok bool) {
	for rest := list; ; {
		rest = strings.TrimLeft(rest, ", \t")
		if rest == "" {
			return strong, weak, len(strong) > 0 || weak
		}
		quoted, isWeak := strings.CutPrefix(rest, "W/")
		inner, opened := strings.CutPrefix(quoted, `"`)
		tag, behind, closed := strings.Cut(inner, `"`)
		behind = strings.TrimLeft(behind, " \t")
		if !opened || !closed || tag == "" || behind != "" && behind[0] != ',' {
			return nil, false, false
		}
		if isWeak {
			weak = true
		} else {
			strong = append(strong, tag)
		}
		rest = behind
	}
}
