// Package authtest issues tokens for tests. Only _test files may import it: the program itself
// never signs.
package authtest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"

	"github.com/golang-jwt/jwt/v5"
)

// An Issuer holds a key pair.
type Issuer struct{ key ed25519.PrivateKey }

// NewIssuer derives the key pair from the seed: the same seed gives the same key.
func NewIssuer(seed string) *Issuer {
	sum := sha256.Sum256([]byte(seed))
	return &Issuer{ed25519.NewKeyFromSeed(sum[:])}
}

// PublicKey returns the key that verifies the issuer's tokens.
func (i *Issuer) PublicKey() ed25519.PublicKey { return i.key.Public().(ed25519.PublicKey) }

// PublicKeyBase64 returns the public key in the format of main.jwt-public-key.
func (i *Issuer) PublicKeyBase64() string { return base64.StdEncoding.EncodeToString(i.PublicKey()) }

// Token signs exactly these claims. It panics if they cannot be encoded as JSON.
func (i *Issuer) Token(claims map[string]any) string {
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims(claims)).SignedString(i.key)
	if err != nil {
		panic(err)
	}
	return token
}
