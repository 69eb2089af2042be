package jwk

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// maxKeyFile is the maximum input of Parse, in bytes.
const maxKeyFile = 64 << 10

// ErrUnknown is Parse's error for input in an unknown format.
var ErrUnknown = errors.New("not a public key in PEM, DER, base64, JWK, or 32 raw bytes of Ed25519")

// No error quotes the input: it may be a secret.
var errPrivate = errors.New("this is a PRIVATE key: keep it where tokens are signed, and give its public half here")

// Parse reads public keys and returns the name of their format:
//
//	"PEM"            one block PUBLIC KEY (SubjectPublicKeyInfo, RFC 5280, RFC 8410)
//	"DER"            a SubjectPublicKeyInfo
//	"base64"         the 32 bytes of an Ed25519 key, in the standard or URL-safe alphabet, with or without padding
//	"base64 of DER"  a SubjectPublicKeyInfo, as in a PEM block
//	"raw"            the 32 bytes of an Ed25519 key
//	"JWK"            one JSON object (RFC 7517); sets ID and Algorithm
//	"JWK set"        as for ParseSet; the only format for several keys, and for Set.Unusable
//
// White space around text is ignored. For private keys, certificates and unsupported key types, the
// error says so; no error quotes the input. Only the keys of a JWK or a set have been checked: call
// Check for the others.
func Parse(data []byte) (set Set, format string, err error) {
	if len(data) > maxKeyFile {
		return Set{}, "", fmt.Errorf("longer than %d bytes: %w", maxKeyFile, ErrUnknown)
	}
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) && !isRaw(data) {
		return parseJSON(data)
	}
	public, format, err := parsePublic(data)
	if err != nil {
		return Set{}, "", err
	}
	return Set{Keys: []Key{{Public: public}}}, format, nil
}

func parsePublic(data []byte) (key crypto.PublicKey, format string, err error) {
	text := bytes.TrimSpace(data)
	switch {
	case len(text) == 0:
		return nil, "", errors.New("no key: the input is empty")
	case bytes.Contains(data, []byte("-----BEGIN ")):
		key, err = parsePEM(data)
		return key, "PEM", err
	case isText(text) && bytes.HasPrefix(text, []byte("ssh-")):
		return nil, "", fmt.Errorf("an OpenSSH public key: %w", ErrUnknown)
	case isText(text):
		return parseBase64(string(text))
	case isRaw(data):
		return ed25519.PublicKey(bytes.Clone(data)), "raw", nil
	case len(data) == ed25519.PrivateKeySize:
		return nil, "", errPrivate
	default:
		key, err = parseDER(data)
		return key, "DER", err
	}
}

// isRaw reports whether data can only be a raw Ed25519 key, which may begin with any byte.
func isRaw(data []byte) bool {
	return len(data) == ed25519.PublicKeySize && !isText(bytes.TrimSpace(data))
}

// isText reports whether s is all printable ASCII. The probability of that is below 10^-13 for 32
// random bytes.
func isText(s []byte) bool {
	return !bytes.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

func parseBase64(text string) (crypto.PublicKey, string, error) {
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(text, "=") {
		encoding = base64.StdEncoding
	}
	data, err := encoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return nil, "", ErrUnknown
	case isRaw(data):
		return ed25519.PublicKey(data), "base64", nil
	case len(data) == ed25519.PrivateKeySize: // how cc-backend writes its JWT_PRIVATE_KEY
		return nil, "", errPrivate
	}
	key, err := parseDER(data)
	if errors.Is(err, ErrUnknown) {
		err = fmt.Errorf("base64 of %d bytes, an Ed25519 public key has %d: %w", len(data), ed25519.PublicKeySize, ErrUnknown)
	}
	return key, "base64 of DER", err
}

func parsePEM(data []byte) (crypto.PublicKey, error) {
	if bytes.Contains(data, []byte("PRIVATE KEY")) { // in any block, even a damaged one
		return nil, errPrivate
	}
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("a damaged PEM block: %w", ErrUnknown)
	case len(bytes.TrimSpace(rest)) != 0:
		return nil, errors.New("more than one PEM block, or data after it")
	}
	key, err := parseDER(block.Bytes)
	if err == nil && block.Type != "PUBLIC KEY" {
		return nil, errors.New("a PEM block that is not named PUBLIC KEY")
	}
	return key, err
}

// parseDER reads a SubjectPublicKeyInfo. For other known structures, the error names them.
func parseDER(der []byte) (crypto.PublicKey, error) {
	if isPrivate(der) {
		return nil, errPrivate
	}
	if _, err := x509.ParseCertificate(der); err == nil {
		return nil, errors.New("a certificate: extract its public key with `openssl x509 -pubkey -noout`")
	}
	if _, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return nil, errors.New("an RSA public key in PKCS #1: convert it with `openssl rsa -RSAPublicKey_in -pubout`")
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, ErrUnknown
	}
	if len(algorithms(key)) == 0 {
		return nil, fmt.Errorf("a public key of type %s, not Ed25519, RSA or ECDSA on P-256, P-384 or P-521",
			strings.TrimPrefix(Key{Public: key}.Kind(), "*"))
	}
	return key, nil
}

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
