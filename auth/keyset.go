package auth

import (
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ringstore/ringstore/auth/jwk"
)

const (
	// maxKeys is how many keys are tried for a token: each costs a signature check.
	maxKeys = 4
	// maxKeySet is how many of an issuer's keys are used.
	maxKeySet = 64
)

// keySet holds one issuer's current keys. It is replaced, never changed. Public keys and secrets
// are in separate lists, and an algorithm uses only one of them.
type keySet struct {
	public  []jwk.Key
	secrets []Secret

	withdrawn bool // there are no keys because the issuer has withdrawn them, not because none have arrived yet
	excess    int  // public keys beyond maxKeySet, which are not used
}

// candidate is a key that a token may have been signed with.
type candidate struct {
	id, kind string
	verify   func(t *token) bool
}

// String returns the kind and the kid.
func (c candidate) String() string {
	if c.id == "" {
		return c.kind + " without a kid"
	}
	return c.kind + " with the kid " + strconv.Quote(c.id)
}

// newKeySet copies and checks the keys. An error names a key by its position.
func newKeySet(public []jwk.Key, secrets []Secret) (*keySet, error) {
	set := new(keySet)
	for i, key := range public {
		if err := jwk.Check(key.Public); err != nil && !errors.Is(err, jwk.ErrPublished) {
			return nil, fmt.Errorf("key %d: %w", i+1, err)
		}
		if len(key.Algorithms()) == 0 {
			return nil, fmt.Errorf("key %d: a key of type %s is not for %s", i+1, key.Kind(), key.Algorithm)
		}
		set.add(key)
	}
	for i, secret := range secrets {
		if len(secret.bytes) < minSecret {
			return nil, fmt.Errorf("secret %d: not made by NewSecret", i+1)
		}
		if secret.id != "" && slices.ContainsFunc(set.secrets, func(s Secret) bool { return s.id == secret.id && !s.equal(secret) }) {
			return nil, fmt.Errorf("secret %d: another secret has the same kid", i+1)
		}
		set.secrets = append(set.secrets, secret)
	}
	switch {
	case len(set.secrets) > maxKeySet:
		return nil, fmt.Errorf("%d secrets, more than %d", len(set.secrets), maxKeySet)
	case len(set.public) > 0 && len(set.secrets) > 0:
		return nil, errors.New("both public keys and a shared secret: an issuer uses one kind")
	}
	return set, nil
}

// add adds a public key. A key that is listed with and without an algorithm, under one kid, is
// bound to the algorithm. Different keys may have one kid, such as Keycloak's for different
// algorithms.
func (s *keySet) add(key jwk.Key) {
	for i := range s.public {
		known := &s.public[i]
		switch {
		case known.Equal(key):
			return
		case key.ID == "" || known.ID != key.ID || !known.SamePublic(key):
		case key.Algorithm == "":
			return
		case known.Algorithm == "":
			known.Algorithm = key.Algorithm
			return
		}
	}
	if len(s.public) == maxKeySet {
		s.excess++
		return
	}
	if raw, ok := key.Public.(ed25519.PublicKey); ok {
		key.Public = slices.Clone(raw)
	}
	s.public = append(s.public, key)
}

// untried returns how many keys are never tried, because more than maxKeys have the same kid, or
// none, and an algorithm in common.
func (s *keySet) untried() (n int) {
	before := make(map[[2]string]int)
	for _, key := range s.public {
		tried := false
		for _, alg := range key.Algorithms() {
			of := [2]string{key.ID, alg}
			tried = tried || before[of] < maxKeys
			before[of]++
		}
		if !tried {
			n++
		}
	}
	return n
}

func (s *keySet) empty() bool { return len(s.public)+len(s.secrets) == 0 }

func (s *keySet) equal(other *keySet) bool {
	return slices.EqualFunc(s.public, other.public, jwk.Key.Equal) && slices.EqualFunc(s.secrets, other.secrets, Secret.equal)
}

// fits reports whether any key supports the algorithm.
func (s *keySet) fits(alg string) bool {
	if need := algorithms[alg].minSecret; need > 0 {
		return slices.ContainsFunc(s.secrets, func(secret Secret) bool { return len(secret.bytes) >= need })
	}
	return slices.ContainsFunc(s.public, func(key jwk.Key) bool { return slices.Contains(key.Algorithms(), alg) })
}

// supporting lists the keys that support an algorithm.
func (s *keySet) supporting(name string) []candidate {
	if alg := algorithms[name]; alg.minSecret > 0 {
		return s.fittingSecrets(alg)
	}
	return s.fittingKeys(name, algorithms[name])
}

// candidates lists the keys to try, at most maxKeys. If keys for the token's algorithm have its
// kid, these are the only ones, and named is true; otherwise keys without a kid are tried.
func (s *keySet) candidates(t *token) (found []candidate, named bool) {
	all := s.supporting(t.alg)
	if t.hasKID {
		kid := ""
		if named = slices.ContainsFunc(all, func(c candidate) bool { return c.id == t.kid }); named {
			kid = t.kid
		}
		all = slices.DeleteFunc(all, func(c candidate) bool { return c.id != kid })
	}
	return all[:min(len(all), maxKeys)], named
}

func (s *keySet) fittingSecrets(alg algorithm) (list []candidate) {
	for _, secret := range s.secrets {
		if len(secret.bytes) >= alg.minSecret {
			list = append(list, candidate{secret.id, "shared secret", func(t *token) bool {
				return alg.method.Verify(t.signed, t.signature, secret.bytes) == nil
			}})
		}
	}
	return list
}

func (s *keySet) fittingKeys(name string, alg algorithm) (list []candidate) {
	for _, key := range s.public {
		if slices.Contains(key.Algorithms(), name) {
			list = append(list, candidate{key.ID, key.Kind(), func(t *token) bool {
				return plausible(alg, key, t.signature) && alg.method.Verify(t.signed, t.signature, key.Public) == nil
			}})
		}
	}
	return list
}

// plausible reports whether the signature's length fits the key, which is cheaper than checking the
// signature.
func plausible(alg algorithm, key jwk.Key, signature []byte) bool {
	switch public := key.Public.(type) {
	case ed25519.PublicKey:
		return len(signature) == ed25519.SignatureSize
	case *rsa.PublicKey:
		return len(signature) == public.Size()
	default:
		return len(signature) == 2*((alg.curve.Params().BitSize+7)/8)
	}
}
