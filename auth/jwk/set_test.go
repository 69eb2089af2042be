package jwk

import (
	"bytes"
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
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// rsaKey is generated once, because that takes a while.
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

// show returns a set's keys and unusable entries as text.
func show(set Set) string {
	var all []string
	for _, k := range set.Keys {
		all = append(all, fmt.Sprintf("%s %s %q", k.ID, k.Kind(), k.Algorithms()))
	}
	return strings.Join(append(all, set.Unusable...), "; ")
}

func checkSet(t *testing.T, name string, data []byte, want string) {
	t.Helper()
	set, err := ParseSet(data)
	if got := show(set); err != nil || got != want {
		t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, want)
	}
}

const ed = `o Ed25519 ["EdDSA"]`

func TestParseSet(t *testing.T) {
	f := func(name string, data []byte, want string) {
		t.Helper()
		checkSet(t, name, data, want)
	}
	f("one of each", setOf(rsaJWK(), ecJWK(), edJWK()), `r RSA 2048 ["RS256"]; e ECDSA P-256 ["ES256"]; `+ed)
	f("no kid, no alg", setOf(with(with(rsaJWK(), "kid", nil), "alg", nil)), ` RSA 2048 ["RS256" "RS384" "RS512" "PS256" "PS384" "PS512"]`)
	f("RFC 9864", setOf(with(edJWK(), "alg", "Ed25519")), ed)
	f("EdDSA", setOf(with(edJWK(), "alg", "EdDSA")), ed)
	f("listed twice", setOf(edJWK(), edJWK()), ed)
	f("two without kid", setOf(with(edJWK(), "kid", nil), with(with(edJWK(), "kid", nil), "x", b64(publicKey(newKey("two"))))),
		` Ed25519 ["EdDSA"];  Ed25519 ["EdDSA"]`)
	f("other members", setOf(with(with(edJWK(), "x5c", []string{"MII"}), "x5u", "https://evil.example.org")), ed)
	f("other members of the set", []byte(`{"x":1,"keys":[`+string(must(json.Marshal(edJWK())))+`]}`), ed)
	f("key_ops", setOf(with(edJWK(), "key_ops", []string{"verify"})), ed)
	f("one kid for several algorithms, as Keycloak lists them",
		setOf(with(with(rsaJWK(), "use", "enc"), "alg", "RSA-OAEP"), rsaJWK(), with(rsaJWK(), "alg", "RS512"), with(rsaJWK(), "alg", "PS256")),
		`r RSA 2048 ["RS256"]; r RSA 2048 ["RS512"]; r RSA 2048 ["PS256"]`)
	f("one kid for keys of several types", setOf(edJWK(), with(rsaJWK(), "kid", "o")), ed+`; o RSA 2048 ["RS256"]`)

	// Null members and empty strings count as absent.
	var absent []string
	for _, name := range []string{"alg", "use", "key_ops", "d", "p", "q", "k", "x5c", "x5t"} {
		absent = append(absent, `"`+name+`":null`)
	}
	key := strings.TrimSuffix(string(must(json.Marshal(edJWK()))), "}")
	f("null members", []byte(`{"keys":[`+key+","+strings.Join(absent, ",")+`}]}`), ed)
	f("empty strings", []byte(`{"keys":[`+key+`,"alg":"","use":""}]}`), ed)
	f("empty kid", setOf(with(edJWK(), "kid", "")), ` Ed25519 ["EdDSA"]`)
}

// Java's BigInteger writes a sign byte or leaves out leading zeros.
func TestLeadingZeros(t *testing.T) {
	// As OpenMetadata writes it: a padded modulus with a sign.
	om := with(rsaJWK(), "n", base64.URLEncoding.EncodeToString(append([]byte{0}, rsaKey().N.Bytes()...)))
	checkSet(t, "OpenMetadata", setOf(with(om, "e", "AAEAAQ==")), `r RSA 2048 ["RS256"]`)
	checkSet(t, "two zeros", setOf(with(om, "e", "AAABAAE")), `r RSA 2048 ["RS256"]`)

	f := func(name, entry, want string, x, y int) {
		t.Helper()
		set, err := ParseSet([]byte(`{"keys":[` + entry + `]}`))
		if got := show(set); err != nil || got != want {
			t.Errorf("%s: %v\n got %s\nwant %s", name, err, got, want)
			return
		}
		// The key is the one with these numbers.
		var numbers struct{ X, Y string }
		if err := json.Unmarshal([]byte(entry), &numbers); err != nil {
			t.Fatal(err)
		}
		point := must(set.Keys[0].Public.(*ecdsa.PublicKey).Bytes())[1:]
		for i, text := range []string{numbers.X, numbers.Y} {
			data, half := must(base64.RawURLEncoding.DecodeString(text)), point[i*len(point)/2:][:len(point)/2]
			if length := []int{x, y}[i]; len(data) != length || new(big.Int).SetBytes(data).Cmp(new(big.Int).SetBytes(half)) != 0 {
				t.Errorf("%s: coordinate %d: %x of %x", name, i, half, data)
			}
		}
	}
	f("Gluu, P-521, both short", `{"use":"sig","kty":"EC","kid":"ac238833-2115-4d44-a0fd-2b90e8140646_sig_es512","crv":"P-521","alg":"ES512",
		"x":"j8VnBihbrYxJqYe8Atsj84LBaStXpsLqCQ-p_wjPDKEIcHAxmcddh5pzJ8RFlt0FDfcyKdc_g7x8cPDWU8g3aKI",
		"y":"zdsNr_tLRBB37zWKJ1lC2-bNusn2GLjF-DWibNFGz8S_6yDLGrxxSHZYj6FiTfGlQQhCosNt1uTBSK4StkGcaFY"}`,
		`ac238833-2115-4d44-a0fd-2b90e8140646_sig_es512 ECDSA P-521 ["ES512"]`, 65, 65)
	f("oxAuth, P-384, y with a sign byte", `{"kty":"EC","use":"sig","crv":"P-384","kid":"9b6a4b28-8cea-485c-8fe6-f8dd065c06d5_sig_es384",
		"x":"XXUnqb5rVa6Q2G6bR4YcZK6aQTHGchvRNkRfUZzu936GdLLjwGVFOtNHRPs0VY71",
		"y":"AJ4fG38pZhMsFDjy5kjUDWJ_66qrYyqjyHDo9zmFMuQjYvOaFESqp22z-WrUErqucA","exp":1637326084831,"alg":"ES384"}`,
		`9b6a4b28-8cea-485c-8fe6-f8dd065c06d5_sig_es384 ECDSA P-384 ["ES384"]`, 48, 49)
	f("oxAuth, P-521, x short", `{"kty":"EC","use":"sig","crv":"P-521","kid":"09a4388a-0fcc-4056-a640-3ba14a578a1e_sig_es512",
		"x":"XoCyKW-V6l_RFVl3Fsrgfzbro0uotfdabr3blhIKhifxXNv_19N0xCNU0V0ETHEt8vdrwAjrF6pHTWLoj0vMJ7g",
		"y":"AX-vlUaUTTjc2gX1fs6OUNXPEG0R0Sn75hbKO3h7IxkH_Y3qisHicDLWbagcpcBkzem31WxJUqoT7nOH1_ArYcjP","exp":1637326242049,"alg":"ES512"}`,
		`09a4388a-0fcc-4056-a640-3ba14a578a1e_sig_es512 ECDSA P-521 ["ES512"]`, 65, 66)
	f("P-256, x short", `{"crv":"P-256","kty":"EC","x":"rdYu9rs4jFRTSPIUiUryoHNu_j32BLaLEK3ZzVLc9w","y":"eAgyilCBWz-FUUXdhpOPmBxdvbWsphsT-ep-paCx8-k"}`,
		` ECDSA P-256 ["ES256"]`, 31, 32)
}

// Keys for other purposes are ignored silently.
func TestKeysForOtherPurposes(t *testing.T) {
	x25519 := members{"kty": "OKP", "crv": "X25519", "x": b64(make([]byte, 32))}
	for name, other := range map[string]members{
		"kty unknown": {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}, "X25519": x25519, "Ed448": with(x25519, "crv", "Ed448"),
		"crv unknown": {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}, "enc": with(rsaJWK(), "use", "enc"),
		"for encryption": with(with(rsaJWK(), "alg", "RSA-OAEP"), "use", nil), "key_ops": with(rsaJWK(), "key_ops", []string{"encrypt"}),
		"weak, and for encryption": with(with(rsaJWK(), "use", "enc"), "n", "AQ"), "unknown alg": with(ecJWK(), "alg", "ES224"),
		"weak, and for another algorithm": with(with(rsaJWK(), "alg", "RSA1_5"), "n", "AQ"),
		"the same kid, for encryption":    with(with(rsaJWK(), "use", "enc"), "kid", "o"),
	} {
		checkSet(t, name, setOf(other, edJWK()), ed)
		if set, err := ParseSet(setOf(other)); err != ErrNoKeys || set.Keys != nil {
			t.Errorf("%s alone: %v, %v", name, set, err)
		}
	}
}

// An unusable entry is named, and the keys beside it are used (RFC 7517 section 5).
func TestUnusableEntries(t *testing.T) {
	f := func(want string, entry any) {
		t.Helper()
		data := must(json.Marshal(members{"keys": []any{edJWK(), entry}}))
		set, err := ParseSet(data)
		if err != nil || len(set.Keys) != 1 || len(set.Unusable) != 1 || !strings.Contains(set.Unusable[0], "keys[1]: "+want) {
			t.Errorf("%.300s:\n got %v, %v\nwant %s", data, set, err, want)
		}
		data = must(json.Marshal(members{"keys": []any{entry}}))
		set, err = ParseSet(data)
		if set.Keys != nil || !errors.Is(err, ErrNoKeys) || !strings.Contains(err.Error(), "keys[0]: "+want) {
			t.Errorf("%.300s alone: %v, %v", data, set, err)
		}
	}
	f("not an object", "x")
	f("not an object", nil)
	f("kty: not a string", members{})
	f("kty: not a string", members{"kty": nil, "kid": "o"})
	f("use: expected a string", with(edJWK(), "use", 1))
	f("key_ops: not an array", with(edJWK(), "key_ops", "verify"))
	f("kid: expected a string", with(edJWK(), "kid", 1))
	f("kid: expected a string", with(edJWK(), "kid", strings.Repeat("k", 257)))
	f("alg: expected a string", with(edJWK(), "alg", []string{"EdDSA"}))
	f("alg: does not fit", with(edJWK(), "alg", "RS256"))
	f("alg: does not fit", with(ecJWK(), "alg", "ES384"))
	f("alg: does not fit", with(rsaJWK(), "alg", "ES256"))

	small := rsaKey().N.Bytes()[:128]
	even := new(big.Int).Lsh(big.NewInt(3), 2047)
	f("weak RSA key: 1024 bits", with(rsaJWK(), "n", b64(small)))
	f("weak RSA key: 9000 bits", with(rsaJWK(), "n", b64(new(big.Int).Lsh(big.NewInt(1), 8999).Bytes())))
	f("weak RSA key: an even modulus", with(rsaJWK(), "n", b64(even.Bytes())))
	for _, e := range []string{"AQ", "Ag", "AQAA", "AA"} {
		f("weak RSA key: the exponent", with(rsaJWK(), "e", e))
	}
	f("e: beyond 31 bits", with(rsaJWK(), "e", "AQAAAAE"))
	f("e: beyond 31 bits", with(rsaJWK(), "e", b64(append([]byte{1}, make([]byte, 64)...))))
	f("e: not a string", with(rsaJWK(), "e", 65537))
	f("e: not a string", with(rsaJWK(), "e", nil))
	f("n: not a string", with(rsaJWK(), "n", nil))
	f("n: not a string", with(rsaJWK(), "n", ""))
	f("n: not base64url", with(rsaJWK(), "n", "A+/A"))
	f("n: not base64url", with(rsaJWK(), "n", b64(rsaKey().N.Bytes())[:20]+"\n"+b64(rsaKey().N.Bytes())[20:]))
	f("n: not base64url", with(rsaJWK(), "n", b64(rsaKey().N.Bytes())+"="))

	ec := ecJWK()
	other := ecJWK()
	f("x, y: not a point of P-256", with(ec, "y", other["y"]))
	f("x, y: not a point of P-256", with(with(ec, "x", b64(make([]byte, 32))), "y", b64(make([]byte, 32))))
	f("x, y: not a point of P-384", with(ec, "crv", "P-384"))
	f("x: longer than the 32 bytes", with(ec, "x", b64(append([]byte{1}, make([]byte, 32)...))))
	f("y: not a string", with(ec, "y", nil))
	f("x: not a string", with(ec, "x", ""))
	f("crv: expected a string", with(ec, "crv", 256))
	// The last byte of x is the first one of y, in a key that simplejwt wrote.
	f("y: longer than the 32 bytes", members{
		"kty": "EC", "crv": "P-256", "kid": "example",
		"x": "7ctn9jXL_oYnSE_jwiDyI3mxEy4s2CxbIYB_i5tmSg", "y": "zuUFbsHCKVZhZ13IZMluI0lDXhzQkNy7MO-cYK7sWdiK",
	})

	f("weak Ed25519 key: all zeros", with(edJWK(), "x", b64(make([]byte, 32))))
	f("weak Ed25519 key: a point of small order", with(edJWK(), "x", b64(append([]byte{1}, make([]byte, 31)...))))
	f("an Ed25519 public key has 32 bytes, not 31", with(edJWK(), "x", b64(make([]byte, 31))))
	f("x: not a string", with(edJWK(), "x", nil))

	many := make([]members, maxKeys+2)
	for i := range many {
		many[i] = with(edJWK(), "kid", fmt.Sprint(i))
	}
	set, err := ParseSet(setOf(many...))
	if want := []string{"keys[64]: more than 64 keys", "keys[65]: more than 64 keys"}; err != nil || len(set.Keys) != maxKeys || !slices.Equal(set.Unusable, want) {
		t.Errorf("many keys: %d, %q, %v", len(set.Keys), set.Unusable, err)
	}
}

func TestInvalidSets(t *testing.T) {
	f := func(want string, data []byte) {
		t.Helper()
		set, err := ParseSet(data)
		if set.Keys != nil || set.Unusable != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.300s:\n got %v, %v\nwant %s", data, set, err, want)
		}
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
	f("keys: none can verify", []byte(`{"keys":[]}`))

	// A private or symmetric key is refused together with the sound keys and unusable entries
	// around it.
	secret := func(want string, key members) {
		t.Helper()
		f("keys[2]: "+want, setOf(edJWK(), members{}, key, rsaJWK()))
	}
	secret("kty: a symmetric key", members{"kty": "oct", "k": b64(make([]byte, 32)), "alg": "HS256"})
	secret("kty: a symmetric key", members{"kty": "oct", "k": b64(make([]byte, 32)), "use": "enc"})
	secret("kty: a symmetric key", members{"kty": "oct"})
	secret("this is a PRIVATE key", with(edJWK(), "d", b64(make([]byte, 32))))
	secret("this is a PRIVATE key", with(with(rsaJWK(), "d", "AQ"), "use", "enc"))
	secret("this is a PRIVATE key", with(rsaJWK(), "d", 1))
	secret("this is a PRIVATE key", with(rsaJWK(), "dp", "AQ"))
	secret("this is a PRIVATE key", with(with(rsaJWK(), "d", "AQ"), "kty", nil))
	secret("this is a PRIVATE key", with(with(rsaJWK(), "d", "AQ"), "n", "AQ"))
	secret("this is a PRIVATE key", members{"kty": "AKP", "priv": "AA"})
}

func TestParseOfJSON(t *testing.T) {
	f := func(data []byte, format string, n int) {
		t.Helper()
		set, got, err := Parse(data)
		if err != nil || got != format || len(set.Keys) != n {
			t.Errorf("%s: %v, %q, %v", data, set, got, err)
		}
	}
	one := must(json.Marshal(edJWK()))
	f(one, "JWK", 1)
	f([]byte("\n "+string(one)+"\n"), "JWK", 1)
	f(setOf(edJWK(), ecJWK()), "JWK set", 2)
	for _, bad := range []string{`{}`, `{"keys":[]}`, `{"kty":"oct","k":"AA"}`, `{"kty":"AKP"}`, `{"kty":"OKP"`} {
		if _, _, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", bad)
		}
	}
}

// A key that ParseSet accepts, go-jose reads as the same key, once its numbers have the length that
// RFC 7518 requires.
func FuzzParseSet(f *testing.F) {
	f.Add(setOf(rsaJWK(), ecJWK(), edJWK()))
	f.Add(setOf(members{"kty": "oct", "k": "AA"}))
	f.Add(setOf(with(rsaJWK(), "n", base64.URLEncoding.EncodeToString(append([]byte{0}, rsaKey().N.Bytes()...)))))
	f.Add(setOf(with(ecJWK(), "crv", "P-521"), with(edJWK(), "use", "enc")))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQ","e":"AQ"}]}`))
	f.Add(setOf(with(with(edJWK(), "alg", ""), "kid", ""), edJWK(), edJWK()))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"rdYu9rs4jFRTSPIUiUryoHNu_j32BLaLEK3ZzVLc9w","y":"eAgyilCBWz-FUUXdhpOPmBxdvbWsphsT-ep-paCx8-k"}]}`))
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-384","x":"","y":""},null,1]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := ParseSet(data)
		keys := set.Keys
		if err != nil {
			if keys != nil {
				t.Errorf("%q: keys and %v", data, err)
			}
			return
		}
		for _, key := range keys {
			if err := Check(key.Public); err != nil && !errors.Is(err, ErrPublished) || len(key.Algorithms()) == 0 {
				t.Errorf("%q: the unusable key %v is accepted: %v", data, key, err)
			}
		}
		var raw struct{ Keys []json.RawMessage }
		if err := json.Unmarshal(data, &raw); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		theirs := make(map[string]int)
		for _, text := range raw.Keys {
			var k jose.JSONWebKey
			if err := json.Unmarshal(normalized(text), &k); err == nil {
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

// normalized returns a JWK whose coordinates have the length of their curve, and whose other
// numbers have no leading zeros.
func normalized(text []byte) []byte {
	var m members
	if err := json.Unmarshal(text, &m); err != nil {
		return text
	}
	size := map[any]int{"P-256": 32, "P-384": 48, "P-521": 66}[m["crv"]]
	for name, length := range map[string]int{"x": size, "y": size, "n": 0, "e": 0} {
		number, ok := m[name].(string)
		if data, err := base64.RawURLEncoding.DecodeString(number); ok && err == nil && m["kty"] != "OKP" {
			data = bytes.TrimLeft(data, "\x00")
			m[name] = b64(append(make([]byte, max(0, length-len(data))), data...))
		}
	}
	return must(json.Marshal(m))
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

// Keys written by go-jose are read unchanged.
func TestKeysOfGoJose(t *testing.T) {
	for _, public := range []crypto.PublicKey{
		rsaKey(), publicKey(newKey("jose")), &must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey,
		&must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey, &must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).PublicKey,
	} {
		data := must(json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: "k", Use: "sig"}}}))
		set, err := ParseSet(data)
		if err != nil || len(set.Keys) != 1 || !set.Keys[0].Equal(Key{ID: "k", Public: public}) {
			t.Errorf("%s: %v, %v", data, set, err)
		}
	}
}
