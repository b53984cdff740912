package contract

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// issuer is a provider of OpenID Connect, with sockets of its own.
type issuer struct {
	t       testing.TB
	web     *httptest.Server
	fetched atomic.Int64 // times that the keys were asked for

	mu       sync.Mutex
	keys     map[string]crypto.Signer // guarded by mu; published, by id
	codes    map[string]url.Values    // guarded by mu; what the page was asked for, by code
	person   object                   // guarded by mu; claims of who signs on
	info     object                   // guarded by mu; what it tells when it is asked besides
	tokenFor func(asked url.Values) string

	once bool   // it answers one request on a connection, and closes it with the next; set before a broker is there
	more object // in its description; set before a broker asks for that
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{t: t, keys: map[string]crypto.Signer{}, codes: map[string]url.Values{}}
	i.newKey("first")
	routes := http.NewServeMux()
	routes.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.json(w, i.described(object{
			"issuer": i.web.URL, "authorization_endpoint": i.web.URL + "/authorize", "token_endpoint": i.web.URL + "/token",
			"jwks_uri": i.web.URL + "/keys", "userinfo_endpoint": i.web.URL + "/userinfo",
			"response_types_supported": list{"code"}, "id_token_signing_alg_values_supported": list{"RS256"},
		}))
	})
	routes.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		i.fetched.Add(1)
		i.json(w, object{"keys": i.published()})
	})
	routes.HandleFunc("GET /authorize", i.authorize)
	routes.HandleFunc("POST /token", i.token)
	routes.HandleFunc("GET /userinfo", func(w http.ResponseWriter, _ *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.json(w, i.info)
	})
	used := map[string]bool{} // connections, by the client's end
	i.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		i.mu.Lock()
		again := used[req.RemoteAddr]
		used[req.RemoteAddr] = true
		i.mu.Unlock()
		if again && i.once { // as one does that closes idle connections, and does it just now
			panic(http.ErrAbortHandler)
		}
		routes.ServeHTTP(w, req)
	}))
	t.Cleanup(i.web.Close)
	return i
}

func (i *issuer) json(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

// described is its description, with what a test has it say besides.
func (i *issuer) described(d object) object {
	maps.Copy(d, i.more)
	return d
}

// newKey publishes another key.
func (i *issuer) newKey(id string) {
	i.t.Helper()
	var key crypto.Signer
	var err error
	if id == "curve" {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	} else {
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys[id] = key
}

func (i *issuer) drop(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.keys, id)
}

func (i *issuer) key(id string) crypto.Signer {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.keys[id]
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i *issuer) published() list {
	i.mu.Lock()
	defer i.mu.Unlock()
	all := list{object{"kty": "oct", "kid": "secret", "k": "AAAA"}, object{"kty": "new", "kid": "nobody knows it"}}
	for id, key := range i.keys {
		switch x := key.Public().(type) {
		case *rsa.PublicKey:
			all = append(all, object{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": b64(x.N.Bytes()), "e": "AQAB"})
		case *ecdsa.PublicKey:
			point, err := x.Bytes()
			if err != nil {
				i.t.Error(err)
				continue
			}
			all = append(all, object{"kty": "EC", "crv": "P-256", "kid": id, "x": b64(point[1:33]), "y": b64(point[33:])})
		}
	}
	return all
}

// claims are those of a good token of a program, with some changed; nil takes one away.
func (i *issuer) claims(changes object) object {
	c := object{
		"iss": i.web.URL, "sub": "shop", "aud": list{"zbus", "other"}, "groups": list{"consumers", "staff"},
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	for name, v := range changes {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// signed makes a token; head has what is to be in its header besides.
func (i *issuer) signed(key crypto.Signer, head, claims object) string {
	i.t.Helper()
	if head["alg"] == nil {
		head["alg"] = "RS256"
		if _, curve := key.(*ecdsa.PrivateKey); curve {
			head["alg"] = "ES256"
		}
	}
	part := func(v object) string {
		raw, err := json.Marshal(v)
		if err != nil {
			i.t.Fatal(err)
		}
		return b64(raw)
	}
	text := part(head) + "." + part(claims)
	sum := sha256.Sum256([]byte(text))
	switch key := key.(type) {
	case nil:
		return text + "."
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			i.t.Fatal(err)
		}
		return text + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	default:
		signature, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
		if err != nil {
			i.t.Fatal(err)
		}
		return text + "." + b64(signature)
	}
}

// program is a good token of one, with some claims changed.
func (i *issuer) program(changes object) string {
	i.t.Helper()
	return i.signed(i.key("first"), object{"kid": "first"}, i.claims(changes))
}

// withPublicKey signs as who knows the public key alone can, for a verifier that takes it for a
// secret.
func (i *issuer) withPublicKey(claims object) string {
	der, err := x509.MarshalPKIXPublicKey(i.key("first").Public())
	if err != nil {
		i.t.Fatal(err)
	}
	head, _ := json.Marshal(object{"alg": "HS256", "kid": "first"})
	body, _ := json.Marshal(claims)
	text := b64(head) + "." + b64(body)
	mac := hmac.New(sha256.New, der)
	mac.Write([]byte(text))
	return text + "." + b64(mac.Sum(nil))
}

// authorize is the page on which a person signs on, and which leads back after that.
func (i *issuer) authorize(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	if q.Get("client_id") != "console" || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || q.Get("nonce") == "" {
		http.Error(w, "wrong request: "+q.Encode(), http.StatusBadRequest)
		return
	}
	code := rand.Text()
	i.mu.Lock()
	i.codes[code] = q
	i.mu.Unlock()
	back := url.Values{"code": {code}, "state": {q.Get("state")}}
	if i.more["authorization_response_iss_parameter_supported"] == true {
		back.Set("iss", i.web.URL)
	}
	http.Redirect(w, req, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

// token exchanges a code, once.
func (i *issuer) token(w http.ResponseWriter, req *http.Request) {
	id, secret, _ := req.BasicAuth()
	secret, _ = url.QueryUnescape(secret) // RFC 6749, 2.3.1
	code := req.FormValue("code")
	i.mu.Lock()
	asked, person, makeToken := i.codes[code], i.person, i.tokenFor
	delete(i.codes, code)
	i.mu.Unlock()
	challenge := sha256.Sum256([]byte(req.FormValue("code_verifier")))
	if asked == nil || id != "console" || secret != "a client's secret" || req.FormValue("redirect_uri") != asked.Get("redirect_uri") || asked.Get("code_challenge") != b64(challenge[:]) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_ = json.NewEncoder(w).Encode(object{"error": "invalid_grant"})
		return
	}
	if makeToken == nil {
		makeToken = func(asked url.Values) string {
			c := i.claims(person)
			c["aud"], c["nonce"] = "console", asked.Get("nonce")
			return i.signed(i.key("first"), object{"kid": "first"}, c)
		}
	}
	i.json(w, object{"access_token": "for nobody here", "token_type": "Bearer", "expires_in": 300, "id_token": makeToken(asked)})
}
