package jwk

import (
	"bytes"
	"crypto/ed25519"
	"errors"

	"filippo.io/edwards25519"
)

// checkPoint refuses keys that crypto/ed25519 verifies with although no signer makes them:
// encodings other than the one that RFC 8032 section 5.1.3 defines, and points of small order.
func checkPoint(key ed25519.PublicKey) error {
	point, err := new(edwards25519.Point).SetBytes(key)
	switch {
	case bytes.Equal(key, make([]byte, len(key))):
		return errors.New("all zeros")
	case err != nil:
		return errors.New("not a point of the curve")
	case !bytes.Equal(point.Bytes(), key): // SetBytes also accepts y >= p, and x = 0 with the sign bit set
		return errors.New("not the canonical encoding of a point")
	case point.MultByCofactor(point).Equal(edwards25519.NewIdentityPoint()) == 1:
		return errors.New("a point of small order")
	}
	return nil
}
