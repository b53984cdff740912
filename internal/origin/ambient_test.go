package origin

import (
	"strings"
	"testing"
)

func TestWhatBrowsersAdd(t *testing.T) {
	const agent = "user-agent=Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0|accept=*/*"
	site := Site{Origins: []string{"*"}, Public: []string{"https://mq.example"}} // lets any page in, elsewhere
	for head, want := range map[string]struct{ program, own bool }{
		"":                                 {true, false},
		"user-agent=curl/8.5.0|accept=*/*": {true, false},
		"user-agent=Go-http-client/1.1|accept-encoding=gzip": {true, false},
		agent:                                 {false, false}, // who knows which page
		"origin=https://127.0.0.1:15555":      {false, true},
		"origin=https://mq.example":           {false, true},
		"origin=http://127.0.0.1:15555":       {false, false}, // which others on the way can write
		"origin=https://127.0.0.1":            {false, false},
		"origin=https://evil.example":         {false, false},
		"origin=null":                         {false, false},
		"origin=":                             {false, false},
		"referer=https://127.0.0.1:15555/ui/": {false, false},
		"sec-fetch-site=none":                 {false, true},
		"sec-fetch-site=same-origin":          {false, true},
		"sec-fetch-site=same-site":            {false, false},
		"sec-fetch-site=cross-site":           {false, false},
		"sec-fetch-site=":                     {false, false},
		"sec-fetch-site=cross-site|origin=https://127.0.0.1:15555": {false, false},
	} {
		header := func(name string) (string, bool) {
			for pair := range strings.SplitSeq("host=127.0.0.1:15555|"+head, "|") {
				if k, v, ok := strings.Cut(pair, "="); ok && k == name {
					return v, true
				}
			}
			return "", false
		}
		if program, own := FromProgram(header), site.FromOwnPage(header); program != want.program || own != want.own {
			t.Errorf("%q: program %t, own page %t", head, program, own)
		}
	}
}
