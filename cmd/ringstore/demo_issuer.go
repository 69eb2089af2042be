package main

import (
	"crypto/ed25519"
	"encoding/base64"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// demoIssuer stands in for the backend that issues tokens. Its key lives in
// this process only, and nothing but the demo uses it.
type demoIssuer struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

// demoTokenLife is how long the demo's tokens are good for.
const demoTokenLife = 24 * time.Hour

func newDemoIssuer() (demoIssuer, error) {
	public, private, err := ed25519.GenerateKey(nil)
	return demoIssuer{public, private}, err
}

// publicKey returns the key as main.jwt-public-key wants it.
func (i demoIssuer) publicKey() string { return base64.StdEncoding.EncodeToString(i.public) }

// token returns a token of a role, for a subject of the same name.
func (i demoIssuer) token(role string) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub":   "demo-" + role,
		"roles": []string{role},
		"iat":   now.Unix(),
		"exp":   now.Add(demoTokenLife).Unix(),
	}).SignedString(i.private)
}
