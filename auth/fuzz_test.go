package auth

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/ringstore/ringstore/auth/authtest"
)

// Only tokens signed with the key are accepted, and no input causes a panic.
func FuzzAuthenticate(f *testing.F) {
	key := newKey("cc-backend")
	issuer := newIssuer(f, trust{}, key)
	signed := map[string]bool{}
	for _, claims := range []string{goodClaims, `{"sub":"a"}`, `{"sub":"a","roles":["admin","api"],"exp":1800000000.5,"jti":"x"}`} {
		token := sign(key, goodHeader, claims)
		signed[token] = true
		f.Add(token)
		f.Add(token[:len(token)-1])
		f.Add(token + "\n")
		f.Add(strings.ToUpper(token))
		f.Add(sign(newKey("wrong"), goodHeader, claims))
		f.Add(b64(`{"alg":"none"}`) + "." + b64(claims) + ".")
	}
	f.Add("")
	f.Add("..")
	f.Add("....")
	f.Add("e30.e30.")
	f.Add(b64(`{"alg":"EdDSA","crit":[]}`) + "." + b64(`{"sub":"\ud800"}`) + "." + strings.Repeat("A", 86))
	f.Fuzz(func(t *testing.T, token string) {
		p, err := issuer.Authenticate(t.Context(), token)
		if err == nil && !signed[token] {
			t.Errorf("accepted %q as %+v", token, p)
		}
		if err != nil && code(err) == "" {
			t.Errorf("%q: an error without a code: %v", token, err)
		}
	})
}

// Every principal is well-formed, whatever the issuer signs.
func FuzzSignedClaims(f *testing.F) {
	key := newKey("cc-backend")
	issuer := newIssuer(f, trust{}, key)
	f.Add(goodHeader, goodClaims)
	f.Add(goodHeader, `{"sub":"a","sub":"b"}`)
	f.Add(goodHeader, `{"sub":"a","x":{"y":[{"z":1,"z":2}]}}`)
	f.Add(goodHeader, `{"sub":"a","exp":1e300,"nbf":-0,"iat":null}`)
	f.Add(goodHeader, `{"sub":"a","roles":["admin",1],"projects":"x"}`)
	f.Add(goodHeader, `{"sub":"a","Roles":["admin"],"":{"":[]}}`)
	f.Add(`{"alg":"EdDSA","b64":false,"crit":["b64"]}`, `alice`)
	f.Add(`{"alg":"EdDSA"}{`, `{"sub":"\u202e\ud800"} `)
	f.Fuzz(func(t *testing.T, header, claims string) {
		p, err := issuer.Authenticate(t.Context(), sign(key, header, claims))
		if err != nil {
			if code(err) == BadSignature || code(err) == Missing {
				t.Errorf("%q.%q: %v", header, claims, err)
			}
			return
		}
		for _, name := range append([]string{p.Subject, p.JobUser}, p.Projects...) {
			if name == "" || len(name) > maxName || strings.ContainsFunc(name, unicode.IsControl) {
				t.Errorf("%q.%q: the name %q", header, claims, name)
			}
		}
		if !strings.Contains(claims, "sub") && !strings.Contains(claims, `\u`) {
			t.Errorf("%q.%q: the subject %q is not in the claims", header, claims, p.Subject)
		}
		if y := p.Expires.Year(); p.Roles >= 1<<len(roleNames) || y > 9999 || p.Issuer != jwtPublicKey || p.Clusters != nil {
			t.Errorf("%q.%q: %+v", header, claims, p)
		}
	})
}

// As FuzzSignedClaims, for an issuer that uses every setting. No claim grants a role that is not
// mapped.
func FuzzMappedClaims(f *testing.F) {
	key := authtest.NewSigner("HS256", "")
	chain := newChain(f, ChainConfig{Issuers: []Issuer{{
		Name: "op", Issuer: "op", Secrets: []Secret{must(NewSecret("", key.Secret()))}, Algorithms: []string{"HS256"},
		Audience: []string{"rs"}, PrincipalClaims: []string{"preferred_username", "email", "sub"}, JobUserClaim: "preferred_username",
		ProjectsClaims: []string{"groups"}, RolesClaims: []string{"realm_access.roles", "scope"}, Clusters: []string{"fritz"},
		RoleMap: map[string]MappedRole{"hpc-user": {Role: User}}, DefaultRoles: Support,
	}}})
	f.Add(`"sub":"a"`)
	f.Add(`"sub":"a","preferred_username":"service-account-x","client_id":"x","azp":"x"`)
	f.Add(`"preferred_username":"service-account-x"`)
	f.Add(`"sub":"a","email":"a@b","email_verified":false,"groups":["p"],"scope":"hpc-user openid"`)
	f.Add(`"sub":"hpc-user","realm_access":{"roles":["hpc-user","admin"]}`)
	f.Add(`"sub":"a","realm_access.roles":[1],"realm_access":null`)
	f.Fuzz(func(t *testing.T, members string) {
		text := b64(`{"alg":"HS256"}`) + "." + b64(`{"iss":"op","aud":["rs"],"exp":1800000600,`+members+`}`)
		p, err := chain.Authenticate(t.Context(), text+"."+b64(string(must(key.SignText(text)))))
		if err != nil {
			if c := code(err); c == BadSignature || c == Missing || strings.Contains(string(c), " ") {
				t.Errorf("%q: %v", members, err)
			}
			return
		}
		names := append([]string{p.Subject}, p.Projects...)
		if p.JobUser != "" {
			names = append(names, p.JobUser)
		}
		for _, name := range names {
			if !IsName(name) || !utf8.ValidString(name) {
				t.Errorf("%q: the name %q", members, name)
			}
		}
		if p.Roles&^(User|Support) != 0 || p.Roles.Has(User) && !strings.Contains(members, "hpc-user") && !strings.Contains(members, `\u`) {
			t.Errorf("%q: the roles %s", members, p.Roles)
		}
		if strings.HasPrefix(p.JobUser, serviceAccountPrefix) || p.Issuer != "op" || len(p.Clusters) != 1 {
			t.Errorf("%q: %+v", members, p)
		}
	})
}

// Accepted keys have 32 bytes and survive a round trip. No error quotes the input, which may be a
// secret.
func FuzzParsePublicKey(f *testing.F) {
	private := newKey("cc-backend")
	key := publicKey(private)
	der := must(x509.MarshalPKIXPublicKey(key))
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(private))
	for _, data := range [][]byte{
		key, der, private, pkcs8, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
		[]byte(base64.StdEncoding.EncodeToString(key)), []byte(base64.RawURLEncoding.EncodeToString(key)),
		[]byte(base64.StdEncoding.EncodeToString(der)), []byte("kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="), nil, []byte("ssh-ed25519 AAAA"),
		[]byte("-----BEGIN PUBLIC KEY-----"), make([]byte, 32),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		key, format, err := ParsePublicKey(data)
		if err != nil {
			if len(data) > 16 && strings.Contains(err.Error(), string(data)) {
				t.Errorf("the error quotes the input: %v", err)
			}
			return
		}
		_ = CheckKey(key) // must not panic
		again, _, err := ParsePublicKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))}))
		if err != nil || !bytes.Equal(again, key) || len(key) != 32 || format == "" {
			t.Errorf("%x (%s): again %x, %v", key, format, again, err)
		}
	})
}

// Every event is one line of printable characters, whatever its fields contain.
func FuzzAuditLine(f *testing.F) {
	f.Add("http", "192.0.2.1", "jwt-public-key", "alice", uint8(User), uint8(Write), "expired")
	f.Add("a\r\nb", "\x1b]0;x\x07", "\xff\xfe", "\u202e\u2028\U0001f600\U000e0001", uint8(255), uint8(255), "\u009b")
	f.Fuzz(func(t *testing.T, transport, peer, issuer, subject string, roles, action uint8, reason string) {
		var b bytes.Buffer
		audit := NewAudit(&b, newClock().now)
		audit.Record(Event{
			Transport: transport, Peer: peer, Issuer: issuer, Subject: subject,
			Roles: Roles(roles), Action: Action(action), Code: Reason(reason),
		})
		text := strings.TrimSuffix(b.String(), "\n")
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) || b.Len() > 16<<10 {
			t.Errorf("%q", text)
		}
		lines := readLines(t, &b)
		if len(lines) != 1 || utf8.ValidString(peer) && len(peer) <= auditField && lines[0].Peer != peer {
			t.Errorf("%q: %+v", peer, lines)
		}
	})
}
