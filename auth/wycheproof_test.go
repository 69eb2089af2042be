package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringstore/ringstore/auth/jwk"
)

// readVectors reads a file of the Wycheproof project (C2SP), which is not part of this repository.
func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	dir := os.Getenv("RINGSTORE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data")
	}
	file := filepath.Join(dir, "wycheproof", name)
	data, err := os.ReadFile(file)
	if os.IsNotExist(err) {
		t.Skipf("no %s: set RINGSTORE_DATA to the folder that holds wycheproof/", file)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestWycheproofEd25519(t *testing.T) {
	var vectors struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey    struct{ Pk string }
			PublicKeyDer string
			PublicKeyPem string
			PublicKeyJwk json.RawMessage
			Tests        []struct {
				TcID            int
				Comment, Result string
				Msg, Sig        string
			}
		}
	}
	readVectors(t, "ed25519_test.json", &vectors)
	ran := 0
	for _, group := range vectors.TestGroups {
		raw := unhex(t, group.PublicKey.Pk)
		forms := [][]byte{raw, unhex(t, group.PublicKeyDer), []byte(group.PublicKeyPem)}
		if len(group.PublicKeyJwk) > 0 {
			forms = append(forms, group.PublicKeyJwk)
		}
		for _, form := range forms {
			if key, format, err := ParsePublicKey(form); err != nil || !bytes.Equal(key, raw) {
				t.Errorf("key %s as %s: %x, %v", group.PublicKey.Pk, format, key, err)
			}
		}
		parsed, _, err := jwk.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		set, err := newKeySet(parsed.Keys, nil)
		if err != nil {
			t.Errorf("key %s: %v", group.PublicKey.Pk, err)
			continue
		}
		for _, v := range group.Tests {
			ran++
			got := set.verified(&token{alg: "EdDSA", signed: string(unhex(t, v.Msg)), signature: unhex(t, v.Sig)})
			if got != (v.Result == "valid") {
				t.Errorf("%d %s: got %t, want %s", v.TcID, v.Comment, got, v.Result)
			}
		}
	}
	if ran == 0 || ran != vectors.NumberOfTests {
		t.Errorf("%d of %d vectors ran", ran, vectors.NumberOfTests)
	}
}

// verified does what checkKey and checkSignature do.
func (s *keySet) verified(t *token) bool {
	candidates, _ := s.candidates(t)
	for _, c := range candidates {
		if c.verify(t) {
			return true
		}
	}
	return false
}

type jwsGroup struct {
	Comment         string
	Public, Private json.RawMessage
	Tests           []struct {
		TcID    int
		Comment string
		JWS     any
		Result  string
	}
}

// keySet reads the group's key or key set: the public one, if there is one.
func (g jwsGroup) keySet() (*keySet, error) {
	data := g.Public
	if len(data) == 0 {
		data = g.Private
	}
	set, _, err := jwk.Parse(data)
	if err != nil {
		return nil, err
	}
	return newKeySet(set.Keys, nil)
}

// keySetOrSecret is keySet, but takes a symmetric key as a configured secret: no other way to set
// one exists.
func (g jwsGroup) keySetOrSecret() (*keySet, error) {
	var key struct{ Kty, Kid, K string }
	if err := json.Unmarshal(g.Private, &key); err != nil {
		return nil, err
	}
	if key.Kty != "oct" {
		return g.keySet()
	}
	secret, err := base64.RawURLEncoding.DecodeString(key.K)
	if err != nil {
		return nil, err
	}
	return newKeySet(nil, []Secret{{key.Kid, secret}}) // NewSecret would refuse the vectors' key of zeros
}

// runJWS counts a vector as accepted if its key, header and signature are.
func runJWS(t *testing.T, file string, keySet func(jwsGroup) (*keySet, error), mismatches map[int]string) {
	var vectors struct {
		NumberOfTests int
		TestGroups    []jwsGroup
	}
	readVectors(t, file, &vectors)
	ran := 0
	for _, group := range vectors.TestGroups {
		set, keyErr := keySet(group)
		for _, v := range group.Tests {
			ran++
			got, why := false, keyErr
			if text, ok := v.JWS.(string); ok && keyErr == nil {
				var parsed *token
				if parsed, _, why = readJWS(text); why == nil {
					got = set.verified(parsed)
				}
			}
			reason, listed := mismatches[v.TcID]
			if agrees := got == (v.Result == "valid"); agrees == listed {
				t.Errorf("%s %d %s: got %t (%v), want %s; listed as a mismatch: %t %s", group.Comment, v.TcID, v.Comment, got, why, v.Result, listed, reason)
			}
		}
	}
	if ran == 0 || ran != vectors.NumberOfTests {
		t.Errorf("%d of %d vectors ran", ran, vectors.NumberOfTests)
	}
}

func TestWycheproofJWS(t *testing.T) {
	const (
		otherAlg = "marked valid, but the key's alg is not the token's: the algorithm is bound to the key"
		noES521  = "marked valid, but the key's alg is ES521, which does not exist (RFC 7518 section 3.4)"
		question = "marked valid, but contains a ?, which base64url does not"
		same     = "marked invalid, but identical to the valid 357"
	)
	runJWS(t, "json_web_signature_test.json", jwsGroup.keySetOrSecret, map[int]string{
		346: otherAlg, 347: noES521, 350: otherAlg, 351: noES521,
		367: same, 370: same, 372: question, 373: question,
	})
}

func TestWycheproofJWK(t *testing.T) {
	const symmetric = "marked valid, but the key is symmetric: secrets come from the configuration only"
	runJWS(t, "json_web_key_test.json", jwsGroup.keySet, map[int]string{
		2: symmetric, 13: symmetric, 14: symmetric, 15: symmetric,
	})
}
