package auth

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// shape is a good token of one issuer: its signer, its header and its claims.
type shape struct {
	name   string
	signer *authtest.Signer
	alg    string
	claims map[string]any
}

func (s shape) header() map[string]any {
	h := map[string]any{"alg": s.alg, "typ": "JWT"}
	if kid := s.signer.KID(); kid != "" {
		h["kid"] = kid
	}
	return h
}

// shapes returns a good token of each issuer.
func (c *centre) shapes(now time.Time) []shape {
	return []shape{
		{"cc-backend", c.cc, "EdDSA", authtest.CCBackend(now, "alice", "admin")},
		{"keycloak", c.keycloak, "RS256", authtest.KeycloakUser(now, realm, "jupyter", "alice", "hpc-admin")},
		{"openmetadata", c.openMetadata, "RS256", authtest.OpenMetadataBot(now, "ingestion-bot")},
		{"datahub", c.dataHub, "HS256", authtest.DataHub(now, "PERSONAL", "alice")},
		{"entra v1", c.entraV1, "RS256", authtest.EntraV1(now, tenant, object1, "Metrics.Read")},
		{"entra v2", c.entraV2, "RS256", authtest.EntraV2(now, tenant, object1, "Metrics.Read")},
	}
}

// hostile is a token that must be refused.
type hostile struct{ name, token string }

// otherSigners makes tokens that another key signed, with every kid.
func otherSigners(s shape, all []shape) (tokens []hostile) {
	signers := map[string]*authtest.Signer{"nobody": mallory()}
	for _, o := range all {
		if o.name != s.name {
			signers[o.name] = o.signer
		}
	}
	for by, signer := range signers {
		alg := s.alg
		for _, o := range all {
			if o.name == by {
				alg = o.alg
			}
		}
		if by == "nobody" {
			alg = "RS256"
		}
		for _, kid := range []any{nil, "", s.signer.KID(), signer.KID(), "x", "../../dev/null"} {
			header := with(s.header(), map[string]any{"alg": alg, "kid": kid})
			tokens = append(tokens, hostile{fmt.Sprintf("signed by %s, kid %v", by, kid), signer.Sign(header, s.claims)})
		}
	}
	return tokens
}

// otherAlgorithms makes tokens whose header names another algorithm than the signature has.
func otherAlgorithms(s shape, good []string) (tokens []hostile) {
	for _, alg := range strings.Fields("none None NONE nOnE HS256 HS384 HS512 RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA eddsa Ed25519 rs256 ES256K dir A256GCM") {
		if alg == s.alg {
			continue
		}
		header := b64(string(must(json.Marshal(with(s.header(), map[string]any{"alg": alg})))))
		for of, signature := range map[string]string{"its signature": good[2], "no signature": "", "zeros": b64(strings.Repeat("\x00", 64))} {
			tokens = append(tokens, hostile{"alg " + alg + " with " + of, header + "." + good[1] + "." + signature})
		}
	}
	return tokens
}

// otherClaims makes well-signed tokens whose claims are wrong for every issuer.
func otherClaims(s shape) (tokens []hostile) {
	wrong := map[string][]any{
		"iss": {"", "https://evil.example.org", realm + "/", strings.ToUpper(realm), realm + "\x00", []any{realm}, 1, null, true, map[string]any{"a": realm}},
		"exp": {0, 1, -1, noon - 3600, "1900000000", []any{noon + 60}, map[string]any{}, true, "x"},
		"nbf": {noon + 3600, "x", []any{}, true},
		"iat": {noon + 3600, "x", []any{}, true},
	}
	for claim, values := range wrong {
		for _, v := range values {
			if s.signer.KID() == "" && claim == "iss" && v == nil {
				continue
			}
			tokens = append(tokens, hostile{fmt.Sprintf("%s %v", claim, v), s.signer.Sign(s.header(), with(s.claims, map[string]any{claim: v}))})
		}
	}
	for _, claim := range []string{"at_hash", "c_hash", "events", "cnf"} {
		tokens = append(tokens, hostile{"a token with " + claim, s.signer.Sign(s.header(), with(s.claims, map[string]any{claim: "x"}))})
	}
	return tokens
}

// otherHeaders makes well-signed tokens whose header forbids to use them.
func otherHeaders(s shape) (tokens []hostile) {
	for name, members := range map[string]map[string]any{
		"crit": {"crit": []string{"exp"}}, "an empty crit": {"crit": []string{}}, "b64": {"b64": false}, "cty": {"cty": "JWT"},
		"an ID token": {"typ": "id+jwt"}, "a logout token": {"typ": "logout+jwt"}, "DPoP": {"typ": "dpop+jwt"}, "JWE": {"typ": "JWE"},
		"typ 1": {"typ": 1}, "kid 1": {"kid": 1}, "kid null": {"kid": null}, "kid list": {"kid": []string{"a"}},
	} {
		tokens = append(tokens, hostile{name, s.signer.Sign(with(s.header(), members), s.claims)})
	}
	return tokens
}

// otherBytes makes variants of a good token: cut off, extended, in other alphabets, and with other
// claims under its signature.
func otherBytes(s shape, good []string) (tokens []hostile) {
	token := strings.Join(good, ".")
	add := func(name, text string) {
		if text != token {
			tokens = append(tokens, hostile{name, text})
		}
	}
	for n := 1; n <= 24; n++ {
		add(fmt.Sprint("cut off by ", n), token[:len(token)-n])
		add(fmt.Sprint("without the first ", n), token[n:])
	}
	for _, x := range []string{"=", "==", ".", "..", ".x", " ", "\n", "\x00", "A", "AA", "AAAA", "%00", "é", "," + token, " " + token} {
		add(fmt.Sprintf("followed by %.5q", x), token+x)
		add(fmt.Sprintf("after %.5q", x), x+token)
	}
	signature := must(base64.RawURLEncoding.DecodeString(good[2]))
	for at := 0; at < len(signature); at += max(1, len(signature)/16) {
		other := append([]byte{}, signature...)
		other[at] ^= 1
		add(fmt.Sprint("bit of byte ", at), good[0]+"."+good[1]+"."+b64(string(other)))
	}
	add("doubled signature", token+good[2])
	add("signature twice", token+"."+good[2])
	add("no claims", good[0]+".."+good[2])
	add("no header", "."+good[1]+"."+good[2])
	add("header as claims", good[0]+"."+good[0]+"."+good[2])
	add("claims as header", good[1]+"."+good[1]+"."+good[2])
	for _, change := range []map[string]any{
		{"sub": "root"}, {"roles": []string{"admin", "api"}}, {"exp": noon + 7200}, {"x": 1}, {"aud": nil}, {"realm_access": map[string]any{"roles": []string{"hpc-admin"}}},
	} {
		payload := string(must(json.Marshal(with(s.claims, change))))
		add(fmt.Sprint("with ", change), good[0]+"."+b64(payload)+"."+good[2])
	}
	return tokens
}

// TestTokenTable: of each issuer's tokens the good one is accepted, and none of more than 700 hostile
// ones is.
func TestTokenTable(t *testing.T) {
	c := newCentre(t)
	all, tried := c.shapes(c.clock.now()), 0
	for _, s := range all {
		token := s.signer.Sign(s.header(), s.claims)
		if _, err := c.chain.Authenticate(t.Context(), token); err != nil {
			t.Fatalf("%s: the good token: %v", s.name, err)
		}
		good := strings.Split(token, ".")
		table := otherSigners(s, all)
		table = append(table, otherAlgorithms(s, good)...)
		table = append(table, otherClaims(s)...)
		table = append(table, otherHeaders(s)...)
		table = append(table, otherBytes(s, good)...)
		for _, h := range table {
			tried++
			p, err := c.chain.Authenticate(t.Context(), h.token)
			if _, refused := errors.AsType[*Refusal](err); p != nil || !refused {
				t.Errorf("%s: %s: %v, %v", s.name, h.name, p, err)
			} else if len(h.token) > 8 && strings.Contains(err.Error(), h.token) {
				t.Errorf("%s: %s: the token is in the error", s.name, h.name)
			}
		}
	}
	if tried < 700 {
		t.Errorf("%d hostile tokens, want at least 700", tried)
	}
	t.Logf("%d hostile tokens", tried)
}
