package access

import (
	"crypto/x509"
	"strings"
)

// CertificatePrefix begins the URI in a client certificate that names an account; its name
// follows. Names of hosts and of mail are not looked at: a certificate for a server or for mail
// of the same authority would be a way in by accident.
const CertificatePrefix = "zbus:account/"

// ByCertificate is the principal of a connection whose client certificate was verified; nil, if
// that names no account, or more than one. It is good while there is such an account that is
// enabled, and is [Principal.Ended] before and after.
func (r *Registry) ByCertificate(c *x509.Certificate) *Principal {
	account := ""
	for _, uri := range c.URIs {
		rest, ok := strings.CutPrefix(uri.String(), CertificatePrefix)
		if !ok {
			continue
		}
		name, err := CheckName("account", rest)
		if err != nil || account != "" {
			return nil
		}
		account = name
	}
	if account == "" {
		return nil
	}
	return &Principal{registry: r, account: account, certified: true}
}

// Certified reports whether it comes by a client certificate: a browser shows that to whatever
// page makes it send a request.
func (p *Principal) Certified() bool { return p != nil && p.certified }
