package e2e

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// issuer issues the tokens that the programs under test accept.
var issuer = authtest.NewIssuer("cmd/ringstore")

// claims returns the claims of a good token, with changes: nil removes a claim.
func claims(changes map[string]any, roles ...string) map[string]any {
	c := map[string]any{
		"sub":   "tester",
		"roles": append([]string{}, roles...),
		"iat":   time.Now().Unix(),
		"exp":   time.Now().Add(time.Hour).Unix(),
	}
	for name, value := range changes {
		if c[name] = value; value == nil {
			delete(c, name)
		}
	}
	return c
}

// token returns a good token with these roles.
func token(roles ...string) string { return issuer.Token(claims(nil, roles...)) }

// segments joins a header and claims into the text that a signature covers.
func segments(header, claims string) string {
	e := base64.RawURLEncoding
	return e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(claims))
}

// signed returns a token with any header and claims, valid JSON or not, and a valid signature by
// [ownKey].
func signed(header, claims string) string {
	text := segments(header, claims)
	return text + "." + base64.RawURLEncoding.EncodeToString(ed25519.Sign(ownKey(), []byte(text)))
}

// ownKey signs tokens that package authtest cannot make. Programs that should accept them have its
// public key as main.jwt-public-key.
func ownKey() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("cmd/ringstore, own key"))
	return ed25519.NewKeyFromSeed(seed[:])
}

func ownPublicKey() ed25519.PublicKey { return ownKey().Public().(ed25519.PublicKey) }

// hs256 returns a token that is signed with a public key as if it were a shared secret.
func hs256(secret []byte) string {
	text := segments(`{"alg":"HS256","typ":"JWT"}`, apiClaims(nil))
	mac := hmac.New(sha256.New, secret)
	fmt.Fprint(mac, text)
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// apiClaims returns claims with role api as JSON.
func apiClaims(changes map[string]any) string {
	text, err := json.Marshal(claims(changes, "api"))
	if err != nil {
		panic(err)
	}
	return string(text)
}
