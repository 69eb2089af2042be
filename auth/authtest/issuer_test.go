package authtest

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"
)

func TestIssuer(t *testing.T) {
	one := NewIssuer("one")
	if NewIssuer("one").PublicKeyBase64() != one.PublicKeyBase64() || NewIssuer("two").PublicKeyBase64() == one.PublicKeyBase64() {
		t.Error("the seed does not decide the key")
	}
	key, err := base64.StdEncoding.DecodeString(one.PublicKeyBase64())
	if err != nil {
		t.Fatal(err)
	}
	text, signature, _ := cutLast(one.Token(map[string]any{"sub": "alice"}))
	sig, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !ed25519.Verify(key, []byte(text), sig) {
		t.Errorf("the token does not verify: %v", err)
	}
}

func cutLast(token string) (before, after string, found bool) {
	i := strings.LastIndexByte(token, '.')
	return token[:i], token[i+1:], i >= 0
}
