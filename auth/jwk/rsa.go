package jwk

import (
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"math/big"
)

func checkRSA(key *rsa.PublicKey) error {
	switch bits := key.N.BitLen(); {
	case bits < minModulus:
		return fmt.Errorf("%d bits, fewer than %d", bits, minModulus)
	case bits > maxModulus:
		return fmt.Errorf("%d bits, more than %d", bits, maxModulus)
	case key.N.Bit(0) == 0:
		return errors.New("an even modulus")
	case key.E <= 1 || key.E%2 == 0 || key.E > math.MaxInt32:
		return errors.New("the exponent is not an odd number above 1 and below 2^31")
	case isROCA(key.N):
		return errors.New("it can be factored (ROCA, CVE-2017-15361)")
	}
	return nil
}

// rocaPrimes are odd primes, for many of which the powers of 65537 are a small part of all residues.
var rocaPrimes = [...]int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
	113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
}

// isROCA reports whether n is a power of 65537 modulo each of these primes, as n is when both its factors were made as
// Infineon's library made them (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, section 2.3). That
// another key is one is out of the question.
func isROCA(n *big.Int) bool {
	for _, p := range rocaPrimes {
		want := new(big.Int).Mod(n, big.NewInt(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == want
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}
