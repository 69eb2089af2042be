// Package jwk reads the public keys that tokens are verified with, from PEM, DER, base64, JWK and JWK sets (RFC 7517),
// and refuses weak ones. It holds no secrets: a symmetric key (kty "oct") is refused wherever it stands, so that
// nothing that was published can become a shared secret. It knows no tokens and no issuers, and fetches nothing.
package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

const (
	minModulus = 2048 // bits
	maxModulus = 8192 // bits: who publishes a key decides what a verification costs us
)

// The algorithms (RFC 7518 section 3.1, RFC 8037) by kind of key. RFC 9864's name "Ed25519" is read as "EdDSA".
var (
	ed25519Algorithms = []string{"EdDSA"}
	rsaAlgorithms     = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
	p256Algorithms    = []string{"ES256"}
	p384Algorithms    = []string{"ES384"}
	p521Algorithms    = []string{"ES512"}
)

// A Key is a public key that Check has found good.
type Key struct {
	ID        string // the kid; empty if it has none
	Algorithm string // the only algorithm that it is for; empty: any of its kind
	// Public is an ed25519.PublicKey, *rsa.PublicKey or *ecdsa.PublicKey. Nobody may change it.
	Public crypto.PublicKey
}

// Algorithms lists what the key can verify; the caller must not change the list.
func (k Key) Algorithms() []string {
	all := algorithms(k.Public)
	if k.Algorithm == "" {
		return all
	}
	if i := slices.Index(all, k.Algorithm); i >= 0 {
		return all[i : i+1]
	}
	return nil
}

// Equal reports whether both are the same key for the same purpose under the same name.
func (k Key) Equal(other Key) bool {
	return k.ID == other.ID && k.Algorithm == other.Algorithm && k.SamePublic(other)
}

// SamePublic reports whether both are the same key, whatever they are called and for.
func (k Key) SamePublic(other Key) bool {
	key, ok := k.Public.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && key.Equal(other.Public)
}

// Kind names the type and the size: "Ed25519", "RSA 2048", "ECDSA P-256".
func (k Key) Kind() string {
	switch key := k.Public.(type) {
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return "RSA " + strconv.Itoa(key.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA " + key.Params().Name
	default:
		return fmt.Sprintf("%T", key)
	}
}

func algorithms(public crypto.PublicKey) []string {
	switch key := public.(type) {
	case ed25519.PublicKey:
		return ed25519Algorithms
	case *rsa.PublicKey:
		return rsaAlgorithms
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P256():
			return p256Algorithms
		case elliptic.P384():
			return p384Algorithms
		case elliptic.P521():
			return p521Algorithms
		}
	}
	return nil
}

// ErrPublished is Check's word on the key pair that cc-backend and cc-metric-store print in their documentation. The
// key is sound; a caller may warn where it refuses the others.
var ErrPublished = errors.New("the demo key of cc-backend and cc-metric-store: its private key is published, anybody can sign with it")

const publishedKey = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="

// Check says what is weak about a public key. Ed25519: a length other than 32 bytes, an encoding that no signer makes
// (RFC 8032 section 5.1.3), or one of the eight points of small order, all zeros among them, under which a signature
// can be made without any private key. RSA: fewer than 2048 bits or more than 8192, an even modulus, an exponent that
// is 1, even or beyond 31 bits, and moduli of the form that Infineon's chips made (ROCA, CVE-2017-15361). ECDSA: any
// curve but P-256, P-384 and P-521, and points that are not on it. Other types are refused. ErrPublished is the one
// verdict that is about a key's history.
func Check(public crypto.PublicKey) error {
	switch key := public.(type) {
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("an Ed25519 public key has %d bytes, not %d", ed25519.PublicKeySize, len(key))
		}
		if err := checkPoint(key); err != nil {
			return fmt.Errorf("weak Ed25519 key: %w", err)
		}
		if base64.StdEncoding.EncodeToString(key) == publishedKey {
			return ErrPublished
		}
		return nil
	case *rsa.PublicKey:
		if err := checkRSA(key); err != nil {
			return fmt.Errorf("weak RSA key: %w", err)
		}
		return nil
	case *ecdsa.PublicKey:
		return checkECDSA(key)
	default:
		return fmt.Errorf("a public key of type %T, not Ed25519, RSA or ECDSA", key)
	}
}

func checkECDSA(key *ecdsa.PublicKey) error {
	if len(algorithms(key)) == 0 {
		return errors.New("an ECDSA key on a curve other than P-256, P-384 and P-521")
	}
	if _, err := key.ECDH(); err != nil {
		return errors.New("weak ECDSA key: not a point of its curve")
	}
	return nil
}
