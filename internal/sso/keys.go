package sso

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// algorithms are those of signatures that are accepted: those with a public and a private key. With
// any other, who knows the public key could sign.
var algorithms = []string{
	oidc.RS256, oidc.RS384, oidc.RS512, oidc.PS256, oidc.PS384, oidc.PS512,
	oidc.ES256, oidc.ES384, oidc.ES512, oidc.EdDSA,
}

// Bounds of the keys of an issuer.
const (
	maxKeys            = 100
	leastRSA, mostRSA  = 2048, 8192 // bits
	maxToken           = 16 << 10   // bytes
	maxTriesWithoutKid = 10
)

// fetchKeys reads the keys of the issuer. What it can't use it leaves out: issuers have keys for other
// purposes, too.
func (i *Issuer) fetchKeys(ctx context.Context, url string) (keys []jose.JSONWebKey, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := i.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(resp.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, err
	}
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if len(keys) < maxKeys && k.UnmarshalJSON(raw) == nil && usable(&k) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("none of %d can be used", len(set.Keys))
	}
	return keys, nil
}

func usable(k *jose.JSONWebKey) bool {
	if !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
		return false
	}
	if x, ok := k.Key.(*rsa.PublicKey); ok {
		return x.N.BitLen() >= leastRSA && x.N.BitLen() <= mostRSA
	}
	return true
}

// VerifySignature is part of [oidc.KeySet].
func (i *Issuer) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	var allowed []jose.SignatureAlgorithm
	for _, a := range algorithms {
		allowed = append(allowed, jose.SignatureAlgorithm(a))
	}
	signature, err := jose.ParseSignedCompact(token, allowed)
	if err != nil {
		return nil, err
	}
	head := signature.Signatures[0].Header
	payload, known, err := i.verify(signature, head)
	if !known {
		i.askAgain(ctx)
		payload, known, err = i.verify(signature, head)
	}
	if !known {
		return nil, fmt.Errorf("the issuer has no key %q", clip(head.KeyID, 80))
	}
	return payload, err
}

// verify checks a signature with the key that it names, if that is known.
func (i *Issuer) verify(s *jose.JSONWebSignature, head jose.Header) (payload []byte, known bool, err error) {
	tries := 0
	for _, k := range i.known.Load().keys {
		if head.KeyID != "" && k.KeyID != head.KeyID || k.Algorithm != "" && k.Algorithm != head.Algorithm {
			continue
		}
		if tries++; tries > maxTriesWithoutKid {
			break
		}
		if payload, err = s.Verify(k.Key); err == nil {
			return payload, true, nil
		}
	}
	// A token that names no key has no key that could be missing, but for one that is as new.
	return nil, tries > 0 && head.KeyID != "", err
}

// compact reports whether a token has the one form that is accepted: there is another one, in JSON,
// with any number of signatures.
func compact(token string) bool {
	return len(token) <= maxToken && strings.Count(token, ".") == 2 && !strings.ContainsAny(token, "{} \t\r\n")
}
