package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxKeyFile is the longest input of ParsePublicKey, in bytes.
const maxKeyFile = 64 << 10

// What is not a public key. None of the texts quotes the input: it may be a secret.
var (
	errPrivate = errors.New("this is a PRIVATE key: keep it where tokens are signed, and give its public half here")
	errUnknown = errors.New("not an Ed25519 public key in PEM, DER, base64, or 32 raw bytes")
)

// ParsePublicKey reads an Ed25519 public key and says in which format it came:
//
//	"PEM"            one block PUBLIC KEY (SubjectPublicKeyInfo, RFC 8410)
//	"DER"            a SubjectPublicKeyInfo
//	"base64"         of the 32 bytes: standard or URL-safe alphabet, with or without padding
//	"base64 of DER"  the same of a SubjectPublicKeyInfo, which is a PEM block without its frame
//	"raw"            32 bytes
//
// White space around text is ignored. Private keys, certificates and keys of another type are refused by name, and no
// error contains any of the input. Whether the key is a good one is CheckKey's to say.
func ParsePublicKey(data []byte) (key ed25519.PublicKey, format string, err error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(data) > maxKeyFile:
		return nil, "", fmt.Errorf("longer than %d bytes: %w", maxKeyFile, errUnknown)
	case len(text) == 0:
		return nil, "", errors.New("no key: the input is empty")
	case bytes.Contains(data, []byte("-----BEGIN ")):
		key, err = parsePEM(data)
		format = "PEM"
	case isText(text) && bytes.HasPrefix(text, []byte("ssh-")):
		err = fmt.Errorf("an OpenSSH public key: %w", errUnknown)
	case isText(text):
		key, format, err = parseBase64(string(text))
	case len(data) == ed25519.PublicKeySize:
		key, format = bytes.Clone(data), "raw"
	case len(data) == ed25519.PrivateKeySize:
		err = errPrivate
	default:
		key, err = parseDER(data)
		format = "DER"
	}
	if err != nil {
		return nil, "", err
	}
	return key, format, nil
}

// isText reports whether s is printable ASCII throughout, as 32 random bytes are once in 10^13 keys or less.
func isText(s []byte) bool {
	return !bytes.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func parseBase64(text string) (ed25519.PublicKey, string, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(text, "=") {
		encoding = base64.StdEncoding
	}
	data, err := encoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return nil, "", errUnknown
	case len(data) == ed25519.PublicKeySize:
		return data, "base64", nil
	case len(data) == ed25519.PrivateKeySize: // how cc-backend writes its JWT_PRIVATE_KEY
		return nil, "", errPrivate
	}
	key, err := parseDER(data)
	if errors.Is(err, errUnknown) {
		err = fmt.Errorf("base64 of %d bytes, an Ed25519 public key has %d: %w", len(data), ed25519.PublicKeySize, errUnknown)
	}
	return key, "base64 of DER", err
}

func parsePEM(data []byte) (ed25519.PublicKey, error) {
	if bytes.Contains(data, []byte("PRIVATE KEY")) { // in whichever block, be it damaged
		return nil, errPrivate
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("a damaged PEM block: %w", errUnknown)
	case len(bytes.TrimSpace(rest)) != 0:
		return nil, errors.New("more than one PEM block, or something after it")
	}
	key, err := parseDER(block.Bytes)
	if err == nil && block.Type != "PUBLIC KEY" {
		return nil, errors.New("a PEM block that is not named PUBLIC KEY")
	}
	return key, err
}

// parseDER reads a SubjectPublicKeyInfo, or says what else the DER is.
func parseDER(der []byte) (ed25519.PublicKey, error) {
	if isPrivate(der) {
		return nil, errPrivate
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		return nil, errors.New("a certificate: extract its public key with `openssl x509 -pubkey -noout`")
	}
	if _, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return nil, notEd25519("RSA")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, errUnknown
	}
	switch key := key.(type) {
	case ed25519.PublicKey:
		return key, nil
	case *rsa.PublicKey:
		return nil, notEd25519("RSA")
	case *ecdsa.PublicKey:
		return nil, notEd25519("ECDSA " + key.Params().Name)
	default:
		return nil, notEd25519(strings.TrimPrefix(fmt.Sprintf("%T", key), "*"))
	}
}

func notEd25519(kind string) error { return fmt.Errorf("a public key of type %s, not Ed25519", kind) }

func isPrivate(der []byte) bool {
	if _, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return true
	}
	if _, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return true
	}
	_, err := x509.ParseECPrivateKey(der)
	return err == nil
}
