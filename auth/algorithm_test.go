package auth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"

	"github.com/ringstore/ringstore/auth/jwk"
)

// RFC 7518 section 3.5 has a salt as long as the hash, neither shorter nor longer.
func TestPSSSalts(t *testing.T) {
	key := must(rsa.GenerateKey(rand.Reader, 2048))
	chain := newChain(t, ChainConfig{Issuers: []Issuer{{Name: "op", Keys: []jwk.Key{{Public: &key.PublicKey}}}}})
	text := b64(`{"alg":"PS256"}`) + "." + b64(goodClaims)
	sum := sha256.Sum256([]byte(text))
	for salt, want := range map[int]Reason{rsa.PSSSaltLengthEqualsHash: "", 32: "", 31: BadSignature, 33: BadSignature, 20: BadSignature, 190: BadSignature} {
		signature := must(rsa.SignPSS(rand.Reader, key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: salt}))
		if _, err := chain.Authenticate(t.Context(), text+"."+b64(string(signature))); code(err) != want {
			t.Errorf("salt of %d: %v, want %q", salt, err, want)
		}
	}
}
