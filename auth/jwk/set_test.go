package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// rsaKey is made once, which takes a while.
var rsaKey = sync.OnceValue(func() *rsa.PublicKey { return &must(rsa.GenerateKey(rand.Reader, 2048)).PublicKey })

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

type members = map[string]any

func rsaJWK() members {
	return members{"kty": "RSA", "kid": "r", "use": "sig", "alg": "RS256", "n": b64(rsaKey().N.Bytes()), "e": "AQAB"}
}

func ecJWK() members {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	point := must(key.PublicKey.Bytes())
	return members{"kty": "EC", "kid": "e", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}
}

func edJWK() members {
	return members{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": b64(publicKey(newKey("jwk")))}
}

func with(m members, name string, value any) members {
	m = maps.Clone(m)
	if value == nil {
		delete(m, name)
	} else {
		m[name] = value
	}
	return m
}

func setOf(keys ...members) []byte { return must(json.Marshal(members{"keys": keys})) }

func TestParseSet(t *testing.T) {
	x25519 := members{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))}
	f := func(name string, data []byte, want string) {
		t.Helper()
		keys, err := ParseSet(data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		var got []string
		for _, k := range keys {
			got = append(got, fmt.Sprintf("%s %s %q", k.ID, k.Kind(), k.Algorithms()))
		}
		if s := strings.Join(got, "; "); s != want {
			t.Errorf("%s:\n got %s\nwant %s", name, s, want)
		}
	}
	const ed = `o Ed25519 ["EdDSA"]`
	f("one of each", setOf(rsaJWK(), ecJWK(), edJWK()), `r RSA 2048 ["RS256"]; e ECDSA P-256 ["ES256"]; `+ed)
	f("no kid, no alg", setOf(with(with(rsaJWK(), "kid", nil), "alg", nil)), ` RSA 2048 ["RS256" "RS384" "RS512" "PS256" "PS384" "PS512"]`)
	f("RFC 9864", setOf(with(edJWK(), "alg", "Ed25519")), ed)
	f("EdDSA", setOf(with(edJWK(), "alg", "EdDSA")), ed)
	f("two without kid", setOf(with(edJWK(), "kid", nil), with(edJWK(), "kid", nil)), ` Ed25519 ["EdDSA"];  Ed25519 ["EdDSA"]`)
	f("other members", setOf(with(with(edJWK(), "x5c", []string{"MII"}), "x5u", "https://evil.example.org")), ed)
	f("other members of the set", []byte(`{"x":1,"keys":[`+string(must(json.Marshal(edJWK())))+`]}`), ed)
	f("key_ops", setOf(with(edJWK(), "key_ops", []string{"verify"})), ed)

	// As OpenMetadata writes it: a padded modulus with a sign.
	om := with(rsaJWK(), "n", base64.URLEncoding.EncodeToString(append([]byte{0}, rsaKey().N.Bytes()...)))
	f("OpenMetadata", setOf(with(om, "e", "AAEAAQ==")), `r RSA 2048 ["RS256"]`)

	// What is not for us is passed over, and does not cost the set.
	for name, other := range map[string]members{
		"kty unknown": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, "X25519": x25519, "Ed448": with(x25519, "crv", "Ed448"),
		"crv unknown": {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}, "enc": with(rsaJWK(), "use", "enc"),
		"for encryption": with(with(rsaJWK(), "alg", "RSA-OAEP"), "use", nil), "key_ops": with(rsaJWK(), "key_ops", []string{"encrypt"}),
		"weak, and for encryption": with(with(rsaJWK(), "use", "enc"), "n", "AQ"), "unknown alg": with(ecJWK(), "alg", "ES224"),
		"the same kid, for encryption": with(with(rsaJWK(), "use", "enc"), "kid", "o"),
	} {
		f(name, setOf(other, edJWK()), ed)
		if _, err := ParseSet(setOf(other)); err == nil || !strings.Contains(err.Error(), "none is for verifying tokens") {
			t.Errorf("%s alone: %v", name, err)
		}
	}
}

func TestWhatIsNoSet(t *testing.T) {
	f := func(want string, data []byte) {
		t.Helper()
		keys, err := ParseSet(data)
		if keys != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.300s:\n got %v, %v\nwant %s", data, keys, err, want)
		}
	}
	bad := func(want string, key members) {
		t.Helper()
		f("keys[1]"+want, setOf(edJWK(), key)) // a sound key beside it makes it no better
	}
	f("not a JSON object", nil)
	f("not a JSON object", []byte(`[]`))
	f("not a JSON object", append(setOf(edJWK()), 'x'))
	f("not UTF-8", []byte("{\"keys\":[],\"\xff\":1}"))
	f("longer than", append(setOf(edJWK()), []byte(strings.Repeat(" ", maxSet))...))
	f("duplicate member name", []byte(`{"keys":[],"keys":[]}`))
	f("nested too deep", []byte(`{"keys":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`}`))
	f("too many values", []byte(`{"keys":[`+strings.Repeat("1,", 10_000)+`1]}`))
	f("keys: not an array", []byte(`{}`))
	f("keys: not an array", []byte(`{"keys":{}}`))
	f("keys: not an array", []byte(`{"Keys":[]}`))
	f("keys: none is for", []byte(`{"keys":[]}`))
	f("keys: 65 entries", setOf(make([]members, 65)...))
	f("keys[0]: not an object", []byte(`{"keys":["x"]}`))
	f("keys[0]: not an object", []byte(`{"keys":[null]}`))
	f("keys[1].kid: already used by another key", setOf(edJWK(), with(rsaJWK(), "kid", "o")))
	f("keys[1].kid: already used by another key", setOf(edJWK(), edJWK()))

	bad(": kty: not a string", members{})
	bad(": kty: a symmetric key", members{"kty": "oct", "k": b64(make([]byte, 32)), "alg": "HS256"})
	bad(": kty: a symmetric key", members{"kty": "oct", "k": b64(make([]byte, 32)), "use": "enc"})
	bad(": this is a PRIVATE key", with(edJWK(), "d", b64(make([]byte, 32))))
	bad(": this is a PRIVATE key", with(with(rsaJWK(), "d", "AQ"), "use", "enc"))
	bad(": this is a PRIVATE key", members{"kty": "AKP", "priv": "AA"})
	bad(": use: expected a string", with(edJWK(), "use", 1))
	bad(": key_ops: not an array", with(edJWK(), "key_ops", "verify"))
	bad(": kid: expected a string", with(edJWK(), "kid", 1))
	bad(": kid: expected a string", with(edJWK(), "kid", ""))
	bad(": kid: expected a string", with(edJWK(), "kid", strings.Repeat("k", 257)))
	bad(": alg: expected a string", with(edJWK(), "alg", []string{"EdDSA"}))
	bad(": alg: does not fit", with(edJWK(), "alg", "RS256"))
	bad(": alg: does not fit", with(ecJWK(), "alg", "ES384"))
	bad(": alg: does not fit", with(rsaJWK(), "alg", "ES256"))

	small := rsaKey().N.Bytes()[:128]
	even := new(big.Int).Lsh(big.NewInt(3), 2047)
	bad(": weak RSA key: 1024 bits", with(rsaJWK(), "n", b64(small)))
	bad(": weak RSA key: 9000 bits", with(rsaJWK(), "n", b64(new(big.Int).Lsh(big.NewInt(1), 8999).Bytes())))
	bad(": weak RSA key: an even modulus", with(rsaJWK(), "n", b64(even.Bytes())))
	for _, e := range []string{"AQ", "Ag", "AQAA"} {
		bad(": weak RSA key: the exponent", with(rsaJWK(), "e", e))
	}
	bad(": e: beyond 31 bits", with(rsaJWK(), "e", "AQAAAAE"))
	bad(": e: beyond 31 bits", with(rsaJWK(), "e", b64(append([]byte{1}, make([]byte, 64)...))))
	bad(": e: leading zeros", with(rsaJWK(), "e", "AA"))
	bad(": e: leading zeros", with(rsaJWK(), "e", "AAABAAE"))
	bad(": e: not a string", with(rsaJWK(), "e", 65537))
	bad(": n: not a string", with(rsaJWK(), "n", nil))
	bad(": n: not base64url", with(rsaJWK(), "n", "A+/A"))
	bad(": n: not base64url", with(rsaJWK(), "n", b64(rsaKey().N.Bytes())[:20]+"\n"+b64(rsaKey().N.Bytes())[20:]))
	bad(": n: not base64url", with(rsaJWK(), "n", b64(rsaKey().N.Bytes())+"="))
	bad(": n: leading zeros", with(rsaJWK(), "n", ""))

	ec := ecJWK()
	other := ecJWK()
	bad(": x, y: not a point of P-256", with(ec, "y", other["y"]))
	bad(": x, y: not a point of P-256", with(with(ec, "x", b64(make([]byte, 32))), "y", b64(make([]byte, 32))))
	bad(": x: not the 48 bytes", with(ec, "crv", "P-384"))
	bad(": x: not the 32 bytes", with(ec, "x", b64(make([]byte, 31))))
	bad(": x: not the 32 bytes", with(ec, "x", b64(make([]byte, 33))))
	bad(": y: not a string", with(ec, "y", nil))
	bad(": crv: expected a string", with(ec, "crv", 256))

	bad(": weak Ed25519 key: all zeros", with(edJWK(), "x", b64(make([]byte, 32))))
	bad(": weak Ed25519 key: a point of small order", with(edJWK(), "x", b64(append([]byte{1}, make([]byte, 31)...))))
	bad(": an Ed25519 public key has 32 bytes, not 31", with(edJWK(), "x", b64(make([]byte, 31))))
	bad(": x: not a string", with(edJWK(), "x", nil))
}

func TestParseOfJSON(t *testing.T) {
	f := func(data []byte, format string, n int) {
		t.Helper()
		keys, got, err := Parse(data)
		if err != nil || got != format || len(keys) != n {
			t.Errorf("%s: %v, %q, %v", data, keys, got, err)
		}
	}
	one := must(json.Marshal(edJWK()))
	f(one, "JWK", 1)
	f([]byte("\n "+string(one)+"\n"), "JWK", 1)
	f(setOf(edJWK(), ecJWK()), "JWK set", 2)
	for _, bad := range []string{`{}`, `{"keys":[]}`, `{"kty":"oct","k":"AA"}`, `{"kty":"AKP"}`, `{"kty":"OKP"`} {
		if _, _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s is a key", bad)
		}
	}
}

// What is read here, go-jose reads as the same key.
func FuzzParseSet(f *testing.F) {
	f.Add(setOf(rsaJWK(), ecJWK(), edJWK()))
	f.Add(setOf(members{"kty": "oct", "k": "AA"}))
	f.Add(setOf(with(rsaJWK(), "n", base64.URLEncoding.EncodeToString(append([]byte{0}, rsaKey().N.Bytes()...)))))
	f.Add(setOf(with(ecJWK(), "crv", "P-521"), with(edJWK(), "use", "enc")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-384","x":"","y":""},null,1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseSet(data)
		if err != nil {
			if keys != nil {
				t.Errorf("%q: keys and %v", data, err)
			}
			return
		}
		for _, key := range keys {
			if err := Check(key.Public); err != nil && !errors.Is(err, ErrPublished) || len(key.Algorithms()) == 0 {
				t.Errorf("%q: %v is read: %v", data, key, err)
			}
		}
		var raw struct{ Keys []json.RawMessage }
		if err := json.Unmarshal(data, &raw); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		theirs := make(map[string]int)
		for _, text := range raw.Keys {
			var k jose.JSONWebKey
			if err := json.Unmarshal(text, &k); err == nil {
				theirs[fingerprint(k.Key)]++
			}
		}
		for _, key := range keys {
			if theirs[fingerprint(key.Public)] == 0 && !strings.Contains(string(data), "=") && !strings.Contains(string(data), `\u003d`) {
				t.Errorf("%q: go-jose does not read %v", data, key)
			}
		}
	})
}

func fingerprint(key crypto.PublicKey) string {
	if k, ok := key.(*rsa.PublicKey); ok {
		return fmt.Sprint("RSA ", k.N, k.E)
	}
	if k, ok := key.(*ecdsa.PublicKey); ok {
		point, err := k.Bytes()
		return fmt.Sprint("EC ", k.Params().Name, point, err)
	}
	return fmt.Sprintf("%T %v", key, key)
}

// Keys as go-jose writes them are read as they were.
func TestKeysOfGoJose(t *testing.T) {
	for _, public := range []crypto.PublicKey{
		rsaKey(), publicKey(newKey("jose")), &must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey,
		&must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey, &must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).PublicKey,
	} {
		data := must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k", Use: "sig"}}}))
		keys, err := ParseSet(data)
		if err != nil || len(keys) != 1 || !keys[0].Equal(Key{ID: "k", Public: public}) {
			t.Errorf("%s: %v, %v", data, keys, err)
		}
	}
}
