package origin

import "slices"

// What follows is for credentials that browsers add by themselves to whatever they send, as client
// certificates are. So it doubts what Source believes, and lets no other pages in.

// FromProgram reports whether nothing in the headers of a request, whose names are in lower case,
// is as of a browser.
func FromProgram(header func(name string) (string, bool)) bool {
	for _, name := range [...]string{"sec-fetch-site", "origin", "referer"} {
		if _, ok := header(name); ok {
			return false
		}
	}
	return !browser(header)
}

// FromOwnPage reports whether a browser says of a request over TLS that a page of this very origin,
// or its user, made it send it. A page that came without TLS is of another origin.
func (s Site) FromOwnPage(header func(name string) (string, bool)) bool {
	if site, ok := header("sec-fetch-site"); ok {
		return site == "same-origin" || site == "none"
	}
	// Some browsers send only this when they open a WebSocket.
	from, _ := header("origin")
	host, _ := header("host")
	own := OriginOf(from)
	return own != "" && (own == OriginOf("https://"+host) || slices.Contains(s.Public, own))
}
