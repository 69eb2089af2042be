package demo

import (
	"crypto/ed25519"
	"encoding/base64"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// issuer stands in for the backend that issues tokens. Its key exists in this process only.
type issuer struct {
	public  ed25519.PublicKey
	private ed25519.PrivateKey
}

// tokenLifetime is how long the tokens are valid.
const tokenLifetime = 24 * time.Hour

func newIssuer() (issuer, error) {
	public, private, err := ed25519.GenerateKey(nil)
	return issuer{public, private}, err
}

// publicKey returns the key in the form of main.jwt-public-key.
func (i issuer) publicKey() string { return base64.StdEncoding.EncodeToString(i.public) }

// token returns a token with a role, for the subject demo-ROLE.
func (i issuer) token(role string) (string, error) {
	now := time.Now()
	return jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub":   "demo-" + role,
		"roles": []string{role},
		"iat":   now.Unix(),
		"exp":   now.Add(tokenLifetime).Unix(),
	}).SignedString(i.private)
}
