package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

// forger derives other signatures from a good one. None of them may be accepted.
type forger struct {
	t         *testing.T
	chain     *Chain
	text      string // the signed part
	signature []byte
}

func newForger(t *testing.T, s *authtest.Signer, alg string) *forger {
	t.Helper()
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: []jwk.Key{{Public: s.Public()}}, DefaultRoles: Admin}}})
	token := s.As(alg).Token(opClaims)
	dot := strings.LastIndexByte(token, '.')
	f := &forger{t, chain, token[:dot], must(decodeSegment("signature", token[dot+1:]))}
	if _, err := f.authenticate(f.signature); err != nil {
		t.Fatalf("%s: a good token: %v", alg, err)
	}
	return f
}

func (f *forger) authenticate(signature []byte) (*Principal, error) {
	return f.chain.Authenticate(f.t.Context(), f.text+"."+encodeSegment(signature))
}

func (f *forger) forge(name string, signature ...[]byte) {
	f.t.Helper()
	if p, err := f.authenticate(slices.Concat(signature...)); code(err) != BadSignature {
		f.t.Errorf("%s: %+v, %v", name, p, err)
	}
}

// forgeAny tries changes that are wrong for every algorithm.
func (f *forger) forgeAny() {
	f.t.Helper()
	size := len(f.signature)
	zero, ones := make([]byte, size), bytes.Repeat([]byte{0xff}, size)
	f.forge("nothing")
	f.forge("a byte", zero[:1])
	f.forge("zeros", zero)
	f.forge("ones", ones)
	f.forge("one byte shorter", f.signature[:size-1])
	f.forge("half", f.signature[:size/2])
	f.forge("a zero in front", zero[:1], f.signature)
	f.forge("a zero at the end", f.signature, zero[:1])
	f.forge("twice", f.signature, f.signature)
	f.forge("halves swapped", f.signature[size/2:], f.signature[:size/2])
	f.forge("reversed", reversed(f.signature))
	f.forge("encoded twice", []byte(encodeSegment(f.signature)))
	f.forge("hexadecimal", []byte(hex.EncodeToString(f.signature)))
	for _, bit := range []int{0, 7, 8 * size / 2, 8*size - 8, 8*size - 1} {
		flipped := bytes.Clone(f.signature)
		flipped[bit/8] ^= 1 << (bit % 8)
		f.forge(fmt.Sprint("bit ", bit), flipped)
	}
}

func reversed(b []byte) []byte {
	b = bytes.Clone(b)
	slices.Reverse(b)
	return b
}

// Only one number is the RSA signature of a token (RFC 8017 sections 8.1.2 and 8.2.2).
func TestForgedRSASignatures(t *testing.T) {
	for _, alg := range []string{"RS256", "PS256"} {
		s := rsaSigners()[0]
		f := newForger(t, s, alg)
		f.forgeAny()
		n, number, one := s.Public().(*rsa.PublicKey).N, new(big.Int).SetBytes(f.signature), big.NewInt(1)
		size := len(f.signature)
		f.forge("s+n", new(big.Int).Add(number, n).Bytes())
		f.forge("n-s", new(big.Int).Sub(n, number).FillBytes(make([]byte, size)))
		f.forge("1", one.FillBytes(make([]byte, size)))
		f.forge("n", n.Bytes())
		f.forge("n-1", new(big.Int).Sub(n, one).Bytes())
	}
}

// An ECDSA signature consists of r and s, both from 1 to n-1 and as long as the curve's order n
// (RFC 7518 section 3.4). Zeros are CVE-2022-21449. (r, n-s) is valid too; TestRevokedECDSATokens
// covers it.
func TestForgedECDSASignatures(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512"} {
		s := authtest.NewSigner(alg, "")
		f := newForger(t, s, alg)
		f.forgeAny()
		curve := s.Public().(*ecdsa.PublicKey).Params()
		size := len(f.signature) / 2
		r, ss := new(big.Int).SetBytes(f.signature[:size]), new(big.Int).SetBytes(f.signature[size:])
		of := func(n int64) *big.Int { return big.NewInt(n) }
		pair := func(name string, r, s *big.Int) {
			t.Helper()
			wide := max(size, (r.BitLen()+7)/8, (s.BitLen()+7)/8)
			f.forge(alg+" "+name, r.FillBytes(make([]byte, wide)), s.FillBytes(make([]byte, wide)))
		}
		pair("0, s", of(0), ss)
		pair("r, 0", r, of(0))
		pair("1, 1", of(1), of(1))
		pair("n, s", curve.N, ss)
		pair("r, n", r, curve.N)
		pair("n, n", curve.N, curve.N)
		pair("p, p", curve.P, curve.P)
		pair("r+n, s", new(big.Int).Add(r, curve.N), ss)
		pair("r, s+n", r, new(big.Int).Add(ss, curve.N))
		pair("n-r, s", new(big.Int).Sub(curve.N, r), ss)
		pair("the base point", curve.Gx, curve.Gx)
		f.forge("wider", make([]byte, 1), f.signature[:size], make([]byte, 1), f.signature[size:])
		f.forge("DER", must(asn1.Marshal(struct{ R, S *big.Int }{r, ss})))
	}
}

// In an EdDSA signature, S is less than the group's order L (RFC 8032 section 5.1.7), although S+L
// satisfies the same equation, and R is not a point of low order.
func TestForgedEdDSASignatures(t *testing.T) {
	f := newForger(t, authtest.NewSigner("EdDSA", ""), "EdDSA")
	f.forgeAny()
	order, _ := new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	r, s := f.signature[:32], new(big.Int).SetBytes(reversed(f.signature[32:]))
	little := func(n *big.Int) []byte { return reversed(n.FillBytes(make([]byte, 32))) }
	for k, sum := 1, new(big.Int).Add(s, order); sum.BitLen() <= 256; k, sum = k+1, sum.Add(sum, order) {
		f.forge(fmt.Sprintf("S+%dL", k), r, little(sum))
	}
	f.forge("S is L", r, little(order))
	f.forge("L-S", r, little(new(big.Int).Sub(order, s)))
	zero := make([]byte, 32)
	for _, low := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		point := must(hex.DecodeString(low))
		f.forge("R of low order", point, zero)
		f.forge("R of low order", point, f.signature[32:])
	}
}
