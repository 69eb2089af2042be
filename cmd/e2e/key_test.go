package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// publishedKey is the public key that the documentation of cc-backend and cc-metric-store prints
// together with its private half.
const publishedKey = "kzfYrYy+TzpanWZHJ5qSdMj5uKUWgq74BWhQG6copP0="

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// TestKey: a public key in any form that openssl or cc-backend produces is printed in the
// configuration's form.
func TestKey(t *testing.T) {
	public := ownPublicKey()
	want := base64.StdEncoding.EncodeToString(public)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	f := func(format string, content []byte) {
		t.Helper()
		file := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "key"), content)
		for _, args := range [][]string{{"key", file}, {"key", "-"}, {"key", "--", file}} {
			got := runCommand(t, content, args...)
			if got.code != exitOK || got.stdout != want+"\n" || got.stderr != "read as "+format+"\n" {
				t.Errorf("%s %q: exit code %d, stdout %q, stderr %q", format, args, got.code, got.stdout, got.stderr)
			}
		}
	}
	f("PEM", pemOf("PUBLIC KEY", der))
	f("PEM", bytes.ReplaceAll(pemOf("PUBLIC KEY", der), []byte("\n"), []byte("\r\n")))
	f("DER", der)
	f("base64", []byte(want))
	f("base64", []byte(want+"\n"))
	f("base64", []byte(base64.RawURLEncoding.EncodeToString(public)))
	f("base64 of DER", []byte(base64.StdEncoding.EncodeToString(der)))
	f("raw", public)

	// The server accepts the printed form.
	s := newSettings(t)
	s["main"]["jwt-public-key"] = want
	p := serve(t, s)
	if got := p.send(t, signed(eddsa, apiClaims(nil)), "POST", "/api/query", "{}"); got.status != 200 {
		t.Errorf("with the printed key: %d", got.status)
	}
}

// TestKeyRefuses: anything but a good public key is refused with a reason and never printed, least
// of all a private key.
func TestKeyRefuses(t *testing.T) {
	private := ownKey()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), nil)
	if err != nil {
		t.Fatal(err)
	}
	p256, err := x509.MarshalPKIXPublicKey(curve.Public())
	if err != nil {
		t.Fatal(err)
	}
	text := base64.StdEncoding.EncodeToString
	f := func(reason string, content []byte) {
		t.Helper()
		file := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "key"), content)
		got := runCommand(t, nil, "key", file)
		if got.code != exitFailure || got.stdout != "" || !strings.HasPrefix(got.stderr, "ringstore: "+file+": ") || !strings.Contains(got.stderr, reason) {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", reason, got.code, got.stdout, got.stderr)
		}
		for _, secret := range []string{string(private.Seed()), text(private.Seed()), text(private), text(pkcs8), hex.EncodeToString(private.Seed())} {
			if strings.Contains(got.stderr, secret[:16]) {
				t.Errorf("%s: the private key is printed: %s", reason, got.stderr)
			}
		}
	}
	f("PRIVATE key", pemOf("PRIVATE KEY", pkcs8))
	f("PRIVATE key", pkcs8)
	f("PRIVATE key", []byte(text(pkcs8)))
	f("PRIVATE key", []byte(text(private)))
	f("PRIVATE key", private)
	f("all zeros", make([]byte, ed25519.PublicKeySize))
	f("all zeros", []byte(text(make([]byte, ed25519.PublicKeySize))))
	f("small order", []byte(text(append([]byte{1}, make([]byte, 31)...))))
	f("expected an Ed25519 public key, got ECDSA P-256", pemOf("PUBLIC KEY", p256))
	f("not an Ed25519 public key", []byte("no key at all"))
	f("empty", nil)
	f("longer than", bytes.Repeat([]byte("A"), 2<<20))

	if got := runCommand(t, nil, "key", filepath.Join(t.TempDir(), "none")); got.code != exitFailure || !strings.Contains(got.stderr, "no such file") {
		t.Errorf("no file: exit code %d: %s", got.code, got.stderr)
	}
}

// TestKeyThatIsPublished: its private half is public, so there is a warning.
func TestKeyThatIsPublished(t *testing.T) {
	got := runCommand(t, []byte(publishedKey), "key", "-")
	if got.code != exitOK || got.stdout != publishedKey+"\n" || !strings.Contains(got.stderr, "warning: the demo key of cc-backend and cc-metric-store: its private key is public") {
		t.Errorf("exit code %d, stdout %q, stderr %q", got.code, got.stdout, got.stderr)
	}
	s := newSettings(t)
	s["main"]["jwt-public-key"] = publishedKey
	if p := serve(t, s); !strings.Contains(p.stderr.String(), "level=WARN") || !strings.Contains(p.stderr.String(), "private key is public") {
		t.Errorf("no warning at the start:\n%s", p.stderr.String())
	}
}
