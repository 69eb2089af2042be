package auth

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

// oracle verifies tokens with one key, by our code and by go-jose.
type oracle struct {
	alg  string
	set  *keySet
	key  any
	good string
}

func newOracle(t testing.TB, alg string) oracle {
	t.Helper()
	var s *authtest.Signer
	if alg[0] == 'R' || alg[0] == 'P' {
		s = rsaSigners()[0].As(alg) // generating one takes a while
	} else {
		s = authtest.NewSigner(alg, "")
	}
	o := oracle{alg: alg, key: s.Public(), good: s.Token(map[string]any{"sub": "a", "exp": noon})}
	var err error
	if s.Public() != nil {
		o.set, err = newKeySet([]jwk.Key{{Public: s.Public()}}, nil)
	} else {
		o.key = s.Secret()
		o.set, err = newKeySet(nil, []Secret{must(NewSecret("", s.Secret()))})
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// ours reports whether our code accepts the signature.
func (o oracle) ours(text string) bool {
	t, _, err := readJWS(text)
	return err == nil && t.alg == o.alg && o.set.verified(t)
}

// theirs reports whether go-jose accepts the signature.
func (o oracle) theirs(text string) bool {
	parsed, err := jose.ParseSignedCompact(text, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(o.alg)})
	if err != nil {
		return false
	}
	_, err = parsed.Verify(o.key)
	return err == nil
}

// Both accept the good token, and we accept no changed token that go-jose refuses.
func TestAgainstGoJose(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/ \n"
	for _, alg := range slices.Sorted(maps.Keys(algorithms)) {
		o := newOracle(t, alg)
		if !o.ours(o.good) || !o.theirs(o.good) {
			t.Fatalf("%s: ours %t, theirs %t", alg, o.ours(o.good), o.theirs(o.good))
		}
		for range 150 {
			bad := []byte(o.good)
			for range 1 + random.IntN(3) {
				at, letter := random.IntN(len(bad)), letters[random.IntN(len(letters))]
				switch random.IntN(3) {
				case 0:
					bad[at] = letter
				case 1:
					bad = slices.Insert(bad, at, letter)
				default:
					bad = slices.Delete(bad, at, at+1)
				}
			}
			if ours := o.ours(string(bad)); ours && (string(bad) != o.good || !o.theirs(string(bad))) {
				t.Errorf("%s: %s is accepted, theirs: %t", alg, bad, o.theirs(string(bad)))
			}
		}
	}
}

func FuzzAgainstGoJose(f *testing.F) {
	oracles := []oracle{newOracle(f, "EdDSA"), newOracle(f, "ES256"), newOracle(f, "HS256"), newOracle(f, "RS256"), newOracle(f, "PS256")}
	for _, o := range oracles {
		f.Add(o.good)
		f.Add(o.good[:len(o.good)-1])
		f.Add(o.good + "=")
		f.Add(`{"payload":"` + strings.Split(o.good, ".")[1] + `"}`)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, o := range oracles {
			if o.ours(text) && !o.theirs(text) {
				t.Errorf("%s: %q is accepted, but not by go-jose", o.alg, text)
			}
		}
	})
}
