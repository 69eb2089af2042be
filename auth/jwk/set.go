package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/ringstore/ringstore/auth/internal/object"
)

const (
	maxSet    = 256 << 10 // bytes; certificate chains (x5c) make sets long
	maxKeys   = 64
	maxValues = 8192
	maxID     = 256 // bytes
)

// errSkipped is for a key that serves another purpose, which is not a mistake.
var errSkipped = errors.New("not a key for verifying tokens")

// ParseSet reads a JWK set (RFC 7517 section 5), all or nothing. It skips keys that are not for verifying: those with an
// unknown kty or crv, a use other than "sig", key_ops without "verify", or an unsupported alg. All other keys must be
// sound: symmetric and private keys, weak keys (Check), a kid used twice, and a set without any usable key are errors,
// which name the member. No error quotes the input.
//
// It is strict with two exceptions for OpenMetadata: base64url may be padded, and the numbers of an RSA key may begin
// with one zero byte. ErrPublished is not an error here: see Check.
func ParseSet(data []byte) ([]Key, error) {
	if len(data) > maxSet {
		return nil, fmt.Errorf("longer than %d bytes", maxSet)
	}
	set, err := object.Read(data, maxValues)
	if err != nil {
		return nil, err
	}
	return readSet(set)
}

// parseJSON reads a JWK or a JWK set.
func parseJSON(data []byte) ([]Key, string, error) {
	members, err := object.Read(data, maxValues)
	if err != nil {
		return nil, "", err
	}
	if _, isSet := members["keys"]; isSet {
		keys, err := readSet(members)
		return keys, "JWK set", err
	}
	key, err := readKey(members)
	if err != nil {
		return nil, "", err
	}
	return []Key{key}, "JWK", nil
}

func readSet(set map[string]any) ([]Key, error) {
	list, ok := set["keys"].([]any)
	if !ok {
		return nil, errors.New("keys: not an array")
	}
	if len(list) > maxKeys {
		return nil, fmt.Errorf("keys: %d entries, more than %d", len(list), maxKeys)
	}
	var keys []Key
	for i, item := range list {
		members, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("keys[%d]: not an object", i)
		}
		key, err := readKey(members)
		switch {
		case errors.Is(err, errSkipped):
			continue
		case err != nil:
			return nil, fmt.Errorf("keys[%d]: %w", i, err)
		case key.ID != "" && slices.ContainsFunc(keys, func(k Key) bool { return k.ID == key.ID }):
			return nil, fmt.Errorf("keys[%d].kid: already used by another key", i)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("keys: none is for verifying tokens")
	}
	return keys, nil
}

// readKey reads one JWK. It refuses symmetric and private keys before it skips any key.
func readKey(m map[string]any) (Key, error) {
	kty, ok := m["kty"].(string)
	if !ok {
		return Key{}, errors.New("kty: not a string")
	}
	if kty == "oct" {
		return Key{}, errors.New("kty: a symmetric key is not permitted among public keys")
	}
	for _, private := range []string{"d", "p", "q", "k", "priv"} {
		if _, ok := m[private]; ok {
			return Key{}, errPrivate
		}
	}
	if err := checkPurpose(m); err != nil {
		return Key{}, err
	}
	read, ok := map[string]func(map[string]any) (crypto.PublicKey, error){"RSA": readRSA, "EC": readEC, "OKP": readOKP}[kty]
	if !ok {
		return Key{}, errSkipped
	}
	public, err := read(m)
	if err != nil {
		return Key{}, err
	}
	if err := Check(public); err != nil && !errors.Is(err, ErrPublished) {
		return Key{}, err
	}
	key := Key{Public: public}
	if key.ID, err = optionalString(m, "kid"); err != nil {
		return Key{}, err
	}
	if key.Algorithm, err = readAlgorithm(m); err != nil {
		return Key{}, err
	}
	if len(key.Algorithms()) == 0 {
		return Key{}, errors.New("alg: does not fit the key's kty and crv")
	}
	return key, nil
}

// checkPurpose returns errSkipped unless the key is for verifying signatures (RFC 7517 sections 4.2 and 4.3).
func checkPurpose(m map[string]any) error {
	use, err := optionalString(m, "use")
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return errSkipped
	}
	value, ok := m["key_ops"]
	if !ok {
		return nil
	}
	ops, ok := value.([]any)
	if !ok {
		return errors.New("key_ops: not an array")
	}
	if !slices.Contains(ops, any("verify")) {
		return errSkipped
	}
	return nil
}

// readAlgorithm returns "" for a key without alg, and errSkipped for an unsupported alg.
func readAlgorithm(m map[string]any) (string, error) {
	alg, err := optionalString(m, "alg")
	if err != nil || alg == "" {
		return "", err
	}
	if alg == "Ed25519" { // RFC 9864
		alg = "EdDSA"
	}
	for _, known := range [][]string{ed25519Algorithms, rsaAlgorithms, p256Algorithms, p384Algorithms, p521Algorithms} {
		if slices.Contains(known, alg) {
			return alg, nil
		}
	}
	return "", errSkipped
}

func optionalString(m map[string]any, name string) (string, error) {
	value, ok := m[name]
	if !ok {
		return "", nil
	}
	s, ok := value.(string)
	if !ok || s == "" || len(s) > maxID {
		return "", fmt.Errorf("%s: expected a string of 1 to %d bytes", name, maxID)
	}
	return s, nil
}

func readRSA(m map[string]any) (crypto.PublicKey, error) {
	n, err := readNumber(m, "n")
	if err != nil {
		return nil, err
	}
	e, err := readNumber(m, "e")
	if err != nil {
		return nil, err
	}
	if !e.IsInt64() || e.Int64() > math.MaxInt32 {
		return nil, errors.New("e: beyond 31 bits")
	}
	return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
}

func readEC(m map[string]any) (crypto.PublicKey, error) {
	crv, err := optionalString(m, "crv")
	if err != nil {
		return nil, err
	}
	curve, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[crv]
	if !ok {
		return nil, errSkipped
	}
	point := []byte{4} // uncompressed (SEC 1 section 2.3.3)
	for _, name := range []string{"x", "y"} {
		coordinate, err := readBytes(m, name)
		if err != nil {
			return nil, err
		}
		if size := (curve.Params().BitSize + 7) / 8; len(coordinate) != size {
			return nil, fmt.Errorf("%s: not the %d bytes of a coordinate on %s", name, size, crv)
		}
		point = append(point, coordinate...)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
	if err != nil {
		return nil, fmt.Errorf("x, y: not a point of %s", crv)
	}
	return key, nil
}

func readOKP(m map[string]any) (crypto.PublicKey, error) {
	crv, err := optionalString(m, "crv")
	if err != nil {
		return nil, err
	}
	if crv != "Ed25519" { // X25519 is not for signatures, Ed448 is not supported
		return nil, errSkipped
	}
	x, err := readBytes(m, "x")
	return ed25519.PublicKey(x), err
}

// readNumber reads a Base64urlUInt (RFC 7518 section 2) with at most one leading zero byte.
func readNumber(m map[string]any, name string) (*big.Int, error) {
	data, err := readBytes(m, name)
	if err != nil {
		return nil, err
	}
	if len(data) > 1 && data[0] == 0 {
		data = data[1:] // the sign of Java's BigInteger.toByteArray
	}
	if len(data) == 0 || data[0] == 0 {
		return nil, fmt.Errorf("%s: leading zeros", name)
	}
	return new(big.Int).SetBytes(data), nil
}

func readBytes(m map[string]any, name string) ([]byte, error) {
	text, ok := m[name].(string)
	if !ok {
		return nil, fmt.Errorf("%s: not a string", name)
	}
	encoding := base64.RawURLEncoding
	if strings.HasSuffix(text, "=") {
		encoding = base64.URLEncoding
	}
	data, err := encoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips line breaks
		return nil, fmt.Errorf("%s: not base64url", name)
	}
	return data, nil
}
