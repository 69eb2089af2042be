package jwk

import (
	"crypto/rsa"
	"math/big"
	"strings"
	"testing"
)

// A modulus that is a power of 65537 modulo every small prime, as those of Infineon's chips are.
func TestROCA(t *testing.T) {
	n := new(big.Int).Exp(big.NewInt(65537), big.NewInt(129), nil) // 2,065 bits
	if err := Check(&rsa.PublicKey{N: n, E: 65537}); err == nil || !strings.Contains(err.Error(), "ROCA") {
		t.Error(err)
	}
	if err := Check(&rsa.PublicKey{N: n.Add(n, big.NewInt(2)), E: 65537}); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	if err := Check(rsaKey()); err != nil {
		t.Errorf("a key of another make: %v", err)
	}
}

// 32 bytes may begin as JSON does.
func TestRawKeyThatBeginsWithABrace(t *testing.T) {
	raw := append([]byte{'{'}, make([]byte, 31)...)
	set, format, err := Parse(raw)
	if err != nil || format != "raw" || !set.Keys[0].Equal(Key{Public: set.Keys[0].Public}) {
		t.Errorf("%v, %q, %v", set, format, err)
	}
}
