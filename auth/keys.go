package auth

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/ringstore/ringstore/auth/jwk"
)

// ErrPublishedKey is CheckKey's word on the key pair that cc-backend and cc-metric-store print in their documentation.
// The key is sound; a caller may warn where it refuses the others.
var ErrPublishedKey = jwk.ErrPublished

// ParsePublicKey reads the Ed25519 public key of main.jwt-public-key in any format that jwk.Parse knows, and says
// which it was. Keys of other types are refused by name, and no error contains any of the input. Whether the key is a
// good one is CheckKey's to say.
func ParsePublicKey(data []byte) (key ed25519.PublicKey, format string, err error) {
	keys, format, err := jwk.Parse(data)
	if errors.Is(err, jwk.ErrUnknown) {
		return nil, "", fmt.Errorf("not an Ed25519 public key: %w", err)
	}
	if err != nil {
		return nil, "", err
	}
	if len(keys) != 1 {
		return nil, "", errors.New("several public keys, want one")
	}
	key, ok := keys[0].Public.(ed25519.PublicKey)
	if !ok {
		return nil, "", fmt.Errorf("a public key of type %s, not Ed25519", keys[0].Kind())
	}
	return key, format, nil
}

// CheckKey is jwk.Check for an Ed25519 key.
func CheckKey(key ed25519.PublicKey) error { return jwk.Check(key) }
