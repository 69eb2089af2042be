package jwk

import (
	"crypto/ed25519"
	"errors"
	"math/big"
	"slices"
)

// checkPoint decodes a point of edwards25519, -x² + y² = 1 + dx²y² over the integers modulo p = 2²⁵⁵-19 (RFC 8032
// section 5.1): 255 bits of y, little-endian, and the lowest bit of x. It is slow and not constant-time, which is of
// no matter for a public key at start.
func checkPoint(key ed25519.PublicKey) error {
	if !slices.ContainsFunc(key, func(b byte) bool { return b != 0 }) {
		return errors.New("all zeros")
	}
	bytes := slices.Clone(key)
	slices.Reverse(bytes)
	odd := bytes[0]&0x80 != 0
	bytes[0] &^= 0x80
	y := new(big.Int).SetBytes(bytes)

	f := newField()
	if y.Cmp(f.p) >= 0 {
		return errors.New("y is not reduced")
	}
	yy := f.mul(y, y)
	x := new(big.Int).ModSqrt(f.div(f.sub(yy, f.one), f.add(f.mul(f.d, yy), f.one)), f.p)
	if x == nil {
		return errors.New("not a point of the curve")
	}
	if x.Sign() == 0 && odd {
		return errors.New("x is 0 with a sign")
	}
	for range 3 { // [8]P, for which the sign of x is of no matter
		x, y = f.double(x, y)
	}
	if x.Sign() == 0 && y.Cmp(f.one) == 0 {
		return errors.New("a point of small order")
	}
	return nil
}

// field is the integers modulo p, and the curve's d.
type field struct{ p, d, one *big.Int }

func newField() field {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	f := field{p: p.Sub(p, big.NewInt(19)), one: big.NewInt(1)}
	f.d = f.div(big.NewInt(-121665), big.NewInt(121666))
	return f
}

func (f field) add(a, b *big.Int) *big.Int { return f.reduce(new(big.Int).Add(a, b)) }
func (f field) sub(a, b *big.Int) *big.Int { return f.reduce(new(big.Int).Sub(a, b)) }
func (f field) mul(a, b *big.Int) *big.Int { return f.reduce(new(big.Int).Mul(a, b)) }
func (f field) div(a, b *big.Int) *big.Int { return f.mul(a, new(big.Int).ModInverse(b, f.p)) }
func (f field) reduce(a *big.Int) *big.Int { return a.Mod(a, f.p) }

// double adds a point to itself. The addition law is complete: d is no square, so no denominator is 0.
func (f field) double(x, y *big.Int) (xx, yy *big.Int) {
	dxxyy := f.mul(f.d, f.mul(f.mul(x, x), f.mul(y, y)))
	xx = f.div(f.mul(big.NewInt(2), f.mul(x, y)), f.add(f.one, dxxyy))
	yy = f.div(f.add(f.mul(y, y), f.mul(x, x)), f.sub(f.one, dxxyy))
	return xx, yy
}
