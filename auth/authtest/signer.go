package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// A Signer signs with one random key and one algorithm.
type Signer struct {
	alg, kid string
	method   jwt.SigningMethod
	key      any
}

// NewSigner generates a key for the algorithm (EdDSA, RS256 to PS512, ES256 to ES512, HS256 to
// HS512). If kid is empty, the tokens have none. It panics on an unknown algorithm.
func NewSigner(alg, kid string) *Signer {
	s := &Signer{alg: alg, kid: kid, method: jwt.GetSigningMethod(alg)}
	var err error
	switch alg {
	case "EdDSA":
		_, s.key, err = ed25519.GenerateKey(rand.Reader)
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512":
		s.key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		s.key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		s.key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "HS256", "HS384", "HS512":
		secret := make([]byte, 64)
		_, err = rand.Read(secret)
		s.key = secret
	default:
		err = fmt.Errorf("no algorithm %q", alg)
	}
	if err != nil {
		panic(err)
	}
	return s
}

// Public returns the public key, nil for a shared secret.
func (s *Signer) Public() crypto.PublicKey {
	if key, ok := s.key.(crypto.Signer); ok {
		return key.Public()
	}
	return nil
}

// Secret returns the shared secret, nil for a key pair.
func (s *Signer) Secret() []byte {
	secret, _ := s.key.([]byte)
	return secret
}

// KID returns the key's kid.
func (s *Signer) KID() string { return s.kid }

// Named returns a Signer with the same key and another kid.
func (s *Signer) Named(kid string) *Signer {
	named := *s
	named.kid = kid
	return &named
}

// Token signs exactly these claims, with the usual header.
func (s *Signer) Token(claims map[string]any) string {
	header := map[string]any{"typ": "JWT", "alg": s.alg}
	if s.kid != "" {
		header["kid"] = s.kid
	}
	return s.Sign(header, claims)
}

// Sign signs any header and claims. It panics if they cannot be encoded as JSON.
func (s *Signer) Sign(header, claims map[string]any) string {
	token, err := (&jwt.Token{Header: header, Claims: jwt.MapClaims(claims), Method: s.method}).SignedString(s.key)
	if err != nil {
		panic(err)
	}
	return token
}

// SignText signs an encoded header and payload, valid or not.
func (s *Signer) SignText(text string) ([]byte, error) { return s.method.Sign(text, s.key) }

// As returns a Signer with the same key and another algorithm of its kind.
func (s *Signer) As(alg string) *Signer {
	other := *s
	other.alg, other.method = alg, jwt.GetSigningMethod(alg)
	return &other
}
