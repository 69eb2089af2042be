package auth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

// hmacToken signs with any bytes as the secret.
func hmacToken(alg string, secret []byte, header, claims map[string]any) string {
	header = with(header, map[string]any{"alg": alg})
	text := b64(string(must(json.Marshal(header)))) + "." + b64(string(must(json.Marshal(claims))))
	mac := hmac.New(map[string]func() hash.Hash{"HS256": sha256.New, "HS384": sha512.New384, "HS512": sha512.New}[alg], secret)
	mac.Write([]byte(text))
	return text + "." + b64(string(mac.Sum(nil)))
}

// publicForms returns the encodings of a public key that could be mistaken for a secret.
func publicForms(key crypto.PublicKey) map[string][]byte {
	der := must(x509.MarshalPKIXPublicKey(key))
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	forms := map[string][]byte{
		"DER": der, "PEM": block, "PEM without the last line break": []byte(strings.TrimSpace(string(block))),
		"base64 of DER": []byte(base64.StdEncoding.EncodeToString(der)), "nothing": nil,
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		forms["raw"] = key
		forms["base64"] = []byte(base64.StdEncoding.EncodeToString(key))
		forms["base64url"] = []byte(base64.RawURLEncoding.EncodeToString(key))
		forms["JWK"] = []byte(`{"kty":"OKP","crv":"Ed25519","x":"` + base64.RawURLEncoding.EncodeToString(key) + `"}`)
	case *rsa.PublicKey:
		forms["PKCS #1"] = x509.MarshalPKCS1PublicKey(key)
		forms["modulus"] = key.N.Bytes()
	}
	return forms
}

// No public key is accepted as a secret, for any issuer and in any encoding (RFC 8725 section 2.1).
func TestPublicKeysAreNotSecrets(t *testing.T) {
	c := newCentre(t)
	now := c.clock.now()
	for _, v := range []struct {
		signer *authtest.Signer
		claims map[string]any
	}{
		{c.cc, authtest.CCBackend(now, "alice", "admin")},
		{c.keycloak, authtest.KeycloakUser(now, realm, "jupyter", "alice", "hpc-admin")},
		{c.openMetadata, authtest.OpenMetadataBot(now, "ingestion-bot")},
		{c.entraV2, authtest.EntraV2(now, tenant, object1)},
	} {
		for form, secret := range publicForms(v.signer.Public()) {
			for _, alg := range []string{"HS256", "HS384", "HS512"} {
				for _, header := range []map[string]any{nil, {"kid": v.signer.KID()}} {
					p, err := c.chain.Authenticate(t.Context(), hmacToken(alg, secret, header, v.claims))
					if code(err) != BadAlgorithm {
						t.Errorf("%s with a key of %v as %s: %v, %v", alg, v.claims["iss"], form, p, err)
					}
					// The issuer with secrets does not accept it either.
					claims := authtest.DataHub(now, "PERSONAL", "alice")
					p, err = c.chain.Authenticate(t.Context(), hmacToken(alg, secret, nil, claims))
					if err == nil {
						t.Errorf("DataHub accepts %s with a key of %v as %s: %v", alg, v.claims["iss"], form, p)
					}
				}
			}
		}
	}
}

// Nothing in a header leads to another key, another algorithm, a file or a host.
func TestHeadersWithKeysAreIgnored(t *testing.T) {
	c := newCentre(t)
	now := c.clock.now()
	claims := authtest.KeycloakUser(now, realm, "jupyter", "alice", "hpc-admin")
	mallory := mallory()
	n := base64.RawURLEncoding.EncodeToString(mallory.Public().(*rsa.PublicKey).N.Bytes())
	f := func(name string, header map[string]any, want Reason) {
		t.Helper()
		header = maps.Clone(header)
		if header["alg"] == nil {
			header["alg"] = "RS256"
		}
		p, err := c.chain.Authenticate(t.Context(), mallory.Sign(header, claims))
		if p != nil || code(err) != want {
			t.Errorf("%s: %v, %v; want %q", name, p, err, want)
		}
	}
	type h = map[string]any
	f("jwk", h{"kid": "kc-1", "jwk": h{"kty": "RSA", "n": n, "e": "AQAB", "kid": "kc-1"}}, BadSignature)
	f("jwk without kid", h{"jwk": h{"kty": "RSA", "n": n, "e": "AQAB"}}, BadSignature)
	f("jku", h{"kid": "kc-1", "jku": "https://evil.example.org/jwks.json"}, BadSignature)
	f("x5u", h{"kid": "kc-1", "x5u": "https://evil.example.org/cert.pem"}, BadSignature)
	f("x5c", h{"kid": "kc-1", "x5c": []string{"MIIB"}}, BadSignature)
	f("x5t", h{"kid": "kc-1", "x5t": "x", "x5t#S256": "y"}, BadSignature)
	for _, kid := range []string{
		"../../../dev/null", "/dev/null", "file:///etc/hostname", "https://evil.example.org/k", "' UNION SELECT 'x", "kc-1\x00", "KC-1",
		"kc-1 ", "kc-1' OR '1'='1", "$(id)", "%2e%2e%2f", "кс-1", strings.Repeat("k", 10_000), "e1", c.openMetadata.KID(),
	} {
		f("kid "+kid, h{"kid": kid}, UnknownKey)
	}
	f("kid a number", h{"kid": 1}, Malformed)
	f("kid null", h{"kid": json.RawMessage("null")}, Malformed)
	f("kid an array", h{"kid": []string{"kc-1"}}, Malformed)
	f("crit", h{"crit": []string{"exp"}}, UnsupportedCrit)
	f("b64", h{"b64": false}, UnsupportedCrit)
	f("cty", h{"cty": "JWT"}, Malformed)
	f("typ logout", h{"typ": "logout+jwt"}, WrongType)
	f("typ DPoP", h{"typ": "dpop+jwt"}, WrongType)
	f("typ ID token", h{"typ": "id+jwt"}, WrongType)
	f("typ JWE", h{"typ": "JWE"}, WrongType)
	f("typ a number", h{"typ": 1}, WrongType)
	f("enc", h{"alg": "RSA-OAEP", "enc": "A256GCM"}, BadAlgorithm)
	f("alg none", h{"alg": "none"}, BadAlgorithm)
	f("alg NONE", h{"alg": "NONE"}, BadAlgorithm)
	f("alg rs256", h{"alg": "rs256"}, BadAlgorithm)
	f("alg RS256 with a look-alike", h{"alg": "RЅ256"}, BadAlgorithm)
	f("alg RS384, which the issuer does not use", h{"alg": "RS384"}, BadAlgorithm)
	f("alg PS256, neither", h{"alg": "PS256", "kid": "kc-1"}, BadAlgorithm)
	f("alg ES256 with an RSA key", h{"alg": "ES256", "kid": "kc-1"}, BadAlgorithm)
	f("alg EdDSA", h{"alg": "EdDSA", "kid": "kc-1"}, BadAlgorithm)

	// The types of access tokens are accepted in upper and lower case.
	for _, typ := range []string{"JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"} {
		if _, err := c.chain.Authenticate(t.Context(), c.keycloak.Sign(h{"alg": "RS256", "kid": "kc-1", "typ": typ}, claims)); err != nil {
			t.Errorf("typ %s: %v", typ, err)
		}
	}
}

// Similar and duplicate member names grant no role.
func TestLookAlikeClaims(t *testing.T) {
	key := authtest.NewSigner("ES256", "k")
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{
		Name: "op", Issuer: "https://op.example.org", Audience: []string{"rs"}, Keys: []jwk.Key{{ID: "k", Public: key.Public()}},
		RolesClaims: []string{"roles", "https://example.org/roles", "realm_access.roles"},
	}}})
	f := func(members, want string) {
		t.Helper()
		raw := json.RawMessage(`{"iss":"https://op.example.org","aud":"rs","sub":"a","exp":1800000600` + members + `}`)
		text := b64(`{"alg":"ES256","kid":"k"}`) + "." + b64(string(raw))
		p, err := chain.Authenticate(t.Context(), text+"."+b64(string(must(key.SignText(text)))))
		got := string(code(err))
		if err == nil {
			got = p.Roles.String()
		}
		if got != want {
			t.Errorf("%s: %s, want %s", members, got, want)
		}
	}
	f(`,"roles":["user"]`, "user")
	f(`,"https://example.org/roles":["user"]`, "user")
	f(`,"realm_access":{"roles":["user"]}`, "user")
	f(`,"realm_access.roles":["user"],"realm_access":{"roles":["admin"]}`, "user") // the exact name comes first
	for _, name := range []string{"Roles", "ROLES", "roleſ", "rоles", "ｒoles", "roles ", "role\\u200bs", "roles\\u0000", "ro\\u0301les"} {
		f(`,"`+name+`":["admin"]`, "")
	}
	f(`,"roles":["user"],"roles":["admin"]`, "malformed")
	f(`,"roles":["user"],"\u0072oles":["admin"]`, "malformed")
	f(`,"realm_access":{"roles":["user"],"roles":["admin"]}`, "malformed")
	f(`,"aud":"rs"`, "malformed")
	f(`,"x":[[{"a":{"b":1,"b":2}}]]`, "malformed")
	f(`,"realm_access":[{"roles":["admin"]}]`, "bad_claims")
	f(`,"realm_access":null`, "bad_claims")
	f(`,"realm_access":{"roles":null}`, "bad_claims")
	f(`,"roles":null`, "bad_claims")
	f(`,"roles":{"0":"admin"}`, "bad_claims")
	f(`,"scope":"admin"`, "") // not configured
}

// A token of each algorithm is accepted only with its own key and under its own name.
func TestEveryAlgorithm(t *testing.T) {
	algs := slices.Sorted(maps.Keys(algorithms))
	signers := make(map[string]*authtest.Signer)
	var issuers []Issuer
	rsa := map[string]int{"RS256": 0, "RS384": 1, "RS512": 2, "PS256": 3, "PS384": 4, "PS512": 0}
	for _, alg := range algs {
		var s *authtest.Signer
		if i, ok := rsa[alg]; ok {
			s = rsaSigners()[i].As(alg)
		} else {
			s = authtest.NewSigner(alg, "")
		}
		signers[alg] = s
		i := Issuer{Name: alg, Issuer: "iss-" + alg, Algorithms: []string{alg}}
		if s.Public() != nil {
			i.Keys = []jwk.Key{{Public: s.Public()}}
		} else {
			i.Secrets = []Secret{must(NewSecret("", s.Secret()))}
		}
		issuers = append(issuers, i)
	}
	chain := newChain(t, ChainConfig{Issuers: issuers})
	for _, issuer := range algs {
		claims := map[string]any{"iss": "iss-" + issuer, "sub": "a", "exp": noon + 600}
		for _, alg := range algs {
			token := signers[alg].Token(claims)
			if _, err := chain.Authenticate(t.Context(), token); (err == nil) != (alg == issuer) {
				t.Errorf("%s at %s: %v", alg, issuer, err)
			}
			// The same token under the name of the expected algorithm.
			renamed := b64(fmt.Sprintf(`{"alg":%q}`, issuer)) + token[strings.IndexByte(token, '.'):]
			if _, err := chain.Authenticate(t.Context(), renamed); err == nil {
				t.Errorf("%s is accepted under the name %s", alg, issuer)
			}
		}
	}
}
