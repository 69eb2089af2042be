package auth

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/ringstore/ringstore/auth/jwk"
)

const (
	// maxKeys is how many keys are tried for a token without a kid: each costs a signature check.
	maxKeys = 4
	// maxKeySet is the maximum number of an issuer's keys.
	maxKeySet = 64
)

// keySet holds one issuer's current keys. It is replaced, never changed. Public keys and secrets are in separate lists,
// and an algorithm uses only one of them.
type keySet struct {
	public  []jwk.Key
	secrets []Secret
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
		if known := set.named(key.ID); known != nil {
			if !known.SamePublic(key) {
				return nil, fmt.Errorf("key %d: another key has the same kid", i+1)
			}
			if known.Algorithm != "" && key.Algorithm != "" && known.Algorithm != key.Algorithm {
				return nil, fmt.Errorf("key %d: the same key is listed for another algorithm", i+1)
			}
			known.Algorithm = cmp.Or(known.Algorithm, key.Algorithm) // keep the more specific entry
			continue
		}
		if slices.ContainsFunc(set.public, key.Equal) { // listed twice without a kid
			continue
		}
		if raw, ok := key.Public.(ed25519.PublicKey); ok {
			key.Public = slices.Clone(raw)
		}
		set.public = append(set.public, key)
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
	switch n := len(set.public) + len(set.secrets); {
	case n > maxKeySet:
		return nil, fmt.Errorf("%d keys, more than %d", n, maxKeySet)
	case len(set.public) > 0 && len(set.secrets) > 0:
		return nil, errors.New("both public keys and a shared secret: an issuer uses one kind")
	}
	return set, set.checkUnnamed()
}

// named returns the key with the kid, nil if there is none or kid is empty.
func (s *keySet) named(kid string) *jwk.Key {
	at := slices.IndexFunc(s.public, func(k jwk.Key) bool { return kid != "" && k.ID == kid })
	if at < 0 {
		return nil
	}
	return &s.public[at]
}

// checkUnnamed refuses more keys without a kid than are tried for a token: the last would never verify anything.
func (s *keySet) checkUnnamed() error {
	unnamed := make(map[string]int)
	for _, key := range s.public {
		if key.ID == "" {
			for _, alg := range key.Algorithms() {
				unnamed[alg]++
			}
		}
	}
	for alg, n := range unnamed {
		if n > maxKeys {
			return fmt.Errorf("%d keys without a kid for %s, more than %d", n, alg, maxKeys)
		}
	}
	return nil
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

// candidates lists the keys to try, at most maxKeys. If a key has the token's kid, it is the only one, and named is
// true; otherwise keys without a kid are tried.
func (s *keySet) candidates(t *token) (found []candidate, named bool) {
	var all []candidate
	if alg := algorithms[t.alg]; alg.minSecret > 0 {
		all = s.fittingSecrets(alg)
	} else {
		all = s.fittingKeys(t.alg, alg)
	}
	if t.hasKID {
		if i := slices.IndexFunc(all, func(c candidate) bool { return c.id == t.kid }); i >= 0 {
			return all[i : i+1], true
		}
		all = slices.DeleteFunc(all, func(c candidate) bool { return c.id != "" })
	}
	return all[:min(len(all), maxKeys)], false
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

// plausible reports whether the signature's length fits the key, which is cheaper than checking the signature.
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
