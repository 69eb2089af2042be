package jwk

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
)

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func newKey(seed string) ed25519.PrivateKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:])
}

func publicKey(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestParse(t *testing.T) {
	// With this seed, the key has both a + and a / in base64.
	key := publicKey(newKey("cc-backend 0"))
	std := base64.StdEncoding.EncodeToString(key)
	if !strings.Contains(std, "+") || !strings.Contains(std, "/") {
		t.Fatalf("%s has not both + and /", std)
	}
	der := must(x509.MarshalPKIXPublicKey(key))
	f := func(format string, data []byte) {
		t.Helper()
		set, gotFormat, err := Parse(data)
		got := set.Keys
		if err != nil || len(got) != 1 || !got[0].Equal(Key{Public: key}) || gotFormat != format {
			t.Errorf("%q: got %v, %q, %v; want %q", data, got, gotFormat, err, format)
		}
	}
	f("PEM", pemBlock("PUBLIC KEY", der))
	f("PEM", append([]byte("a comment\n"), pemBlock("PUBLIC KEY", der)...))
	f("PEM", bytes.ReplaceAll(pemBlock("PUBLIC KEY", der), []byte("\n"), []byte("\r\n")))
	f("DER", der)
	f("base64", []byte(std))
	f("base64", []byte("  "+std+"\r\n"))
	f("base64", []byte(strings.TrimRight(std, "=")))
	f("base64", []byte(base64.URLEncoding.EncodeToString(key)))
	f("base64", []byte(base64.RawURLEncoding.EncodeToString(key)))
	f("base64 of DER", []byte(base64.StdEncoding.EncodeToString(der)+"\n"))
	f("raw", key)
}

func TestInputsWithoutAPublicKey(t *testing.T) {
	private := newKey("cc-backend")
	public := publicKey(private)
	spki := must(x509.MarshalPKIXPublicKey(public))
	pkcs8 := must(x509.MarshalPKCS8PrivateKey(private))
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))
	ecKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p224 := must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader))
	ecDER := must(x509.MarshalECPrivateKey(ecKey))
	x25519 := must(ecdh.X25519().GenerateKey(rand.Reader))
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, public, private))
	std := base64.StdEncoding.EncodeToString

	f := func(name string, data []byte, want string) {
		t.Helper()
		set, format, err := Parse(data)
		if key := set.Keys; key != nil || format != "" || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %q, %v; want an error with %q", name, set, format, err, want)
			return
		}
		// The error quotes no form of the input.
		for _, secret := range []string{string(data), std(data), std(private), std(private.Seed()), hex.EncodeToString(private.Seed())} {
			if len(secret) > 8 && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error quotes the input: %v", name, err)
			}
		}
	}
	f("nothing", nil, "empty")
	f("white space", []byte(" \n"), "empty")
	f("a megabyte", bytes.Repeat([]byte("A"), 1<<20), "longer than 65536 bytes")
	f("garbage", []byte("not a key"), "not a public key")
	f("31 raw bytes", public[:31], "not a public key")
	f("33 raw bytes", append(bytes.Clone(public), 0x80), "not a public key")
	f("base64 of 31 bytes", []byte(std(public[:31])), "base64 of 31 bytes, an Ed25519 public key has 32")
	f("base64 of 33 bytes", []byte(std(append(bytes.Clone(public), 1))), "base64 of 33 bytes")
	f("32 letters, which are base64 of 24 bytes", bytes.Repeat([]byte("A"), 32), "base64 of 24 bytes")
	f("stray bits", []byte(strings.Repeat("A", 42)+"B="), "not a public key")
	f("half the padding", []byte(strings.Repeat("A", 42)+"A=="), "not a public key")
	f("a space inside", []byte(std(public)[:20]+" "+std(public)[20:]), "not a public key")
	f("a line break inside", []byte(std(public)[:20]+"\n"+std(public)[20:]), "not a public key")
	f("SPKI cut off", spki[:40], "not a public key")
	f("SPKI and a byte", append(bytes.Clone(spki), 0), "not a public key")
	f("an OpenSSH key", []byte("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI me@here"), "OpenSSH public key")

	f("private, PEM", pemBlock("PRIVATE KEY", pkcs8), "PRIVATE key")
	f("private, PEM, damaged", pemBlock("PRIVATE KEY", pkcs8)[:60], "PRIVATE key")
	f("private after public", append(pemBlock("PUBLIC KEY", spki), pemBlock("PRIVATE KEY", pkcs8)...), "PRIVATE key")
	f("private, named public", pemBlock("PUBLIC KEY", pkcs8), "PRIVATE key")
	f("private, encrypted", pemBlock("ENCRYPTED PRIVATE KEY", pkcs8), "PRIVATE key")
	f("private, OpenSSH", pemBlock("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")), "PRIVATE key")
	f("private, DER", pkcs8, "PRIVATE key")
	f("private, base64 of DER", []byte(std(pkcs8)), "PRIVATE key")
	f("private, as cc-backend writes it", []byte(std(private)), "PRIVATE key")
	f("private, raw", private, "PRIVATE key")
	f("private RSA, PKCS 1", x509.MarshalPKCS1PrivateKey(rsaKey), "PRIVATE key")
	f("private ECDSA, PEM", pemBlock("EC PRIVATE KEY", ecDER), "PRIVATE key")
	f("private ECDSA, DER", ecDER, "PRIVATE key")

	f("RSA, PKCS 1", pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey.PublicKey)), "PKCS #1")
	f("ECDSA, P-224", must(x509.MarshalPKIXPublicKey(&p224.PublicKey)), "type ECDSA P-224")
	f("X25519", must(x509.MarshalPKIXPublicKey(x25519.PublicKey())), "type ecdh")
	f("a certificate", pemBlock("CERTIFICATE", certificate), "a certificate")
	f("PEM of another name", pemBlock("KEY", spki), "not named PUBLIC KEY")
	f("two keys", append(pemBlock("PUBLIC KEY", spki), pemBlock("PUBLIC KEY", spki)...), "more than one PEM block")
	f("data after it", append(pemBlock("PUBLIC KEY", spki), "x"...), "data after it")
	f("damaged PEM", []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n"), "damaged PEM")
	f("PEM of garbage", pemBlock("PUBLIC KEY", []byte("garbage")), "not a public key")
}

// The encodings of the eight points of small order, canonical or not, from "Taming the many EdDSAs"
// (Chalkias, Garillot, Nikolaenko; SSR 2020), and similar ones. For each, a signature can be forged
// without a private key.
func TestWeakKeys(t *testing.T) {
	f := func(name, key, want string) {
		t.Helper()
		err := Check(ed25519.PublicKey(must(hex.DecodeString(key))))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: %v, want %q", name, key, err, want)
		}
	}
	const ff30 = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff" // 30 bytes
	const zero30 = "000000000000000000000000000000000000000000000000000000000000"
	f("order 1", "01"+zero30+"00", "small order")
	f("order 2", "ec"+ff30+"7f", "small order")
	f("order 4", "00"+zero30+"00", "all zeros")
	f("order 4", "00"+zero30+"80", "small order")
	f("order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "small order")
	f("order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "small order")
	f("order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "small order")
	f("order 8", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "small order")
	f("order 1, signed zero", "01"+zero30+"80", "not the canonical encoding")
	f("order 2, signed zero", "ec"+ff30+"ff", "not the canonical encoding")
	f("order 1, y+p", "ee"+ff30+"7f", "not the canonical encoding")
	f("order 1, y+p, signed", "ee"+ff30+"ff", "not the canonical encoding")
	f("order 4, y+p", "ed"+ff30+"7f", "not the canonical encoding")
	f("order 4, y+p, signed", "ed"+ff30+"ff", "not the canonical encoding")
	f("y = 2^255-1", "ff"+ff30+"7f", "not the canonical encoding")
	f("all ones", "ff"+ff30+"ff", "not the canonical encoding")
	f("y = 3+p", "f0"+ff30+"7f", "not the canonical encoding")
	f("y = 2, no point of the curve", "02"+zero30+"00", "not a point")
	f("empty", "", "not 0")
	f("31 bytes", zero30+"01", "not 31")
	f("33 bytes", zero30+"010203", "not 33")
}

// A weak key verifies a forged signature, so TestWeakKeys tests a real threat.
func TestSmallOrderKeysVerifyForgeries(t *testing.T) {
	identity := make(ed25519.PublicKey, 32)
	identity[0] = 1
	signature := make([]byte, 64)
	signature[0] = 1 // R is the identity, S is 0
	if !ed25519.Verify(identity, []byte("anything"), signature) {
		t.Error("crypto/ed25519 has become stricter")
	}
}

func TestGoodKeys(t *testing.T) {
	for _, seed := range []string{"", "a", "b", "c", "d", "e", "f", "g"} {
		if err := Check(publicKey(newKey(seed))); err != nil {
			t.Errorf("seed %q: %v", seed, err)
		}
	}
	set, format, err := Parse([]byte(publishedKey))
	if err != nil || format != "base64" {
		t.Fatal(format, err)
	}
	if err := Check(set.Keys[0].Public); !errors.Is(err, ErrPublished) {
		t.Errorf("the published key: %v", err)
	}
}
