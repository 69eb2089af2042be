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
	"maps"
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

// ErrNoKeys is the error for a well-formed JWK set in which no key can verify tokens. Its publisher
// trusts none of the keys that were in the set before.
var ErrNoKeys = errors.New("keys: none can verify tokens")

// errOtherPurpose is for a key that serves another purpose, which is not a mistake.
var errOtherPurpose = errors.New("not a key for verifying tokens")

// errSymmetric and errPrivate refuse a set as a whole.
var errSymmetric = errors.New("kty: a symmetric key is not permitted among public keys")

// Set is the content of a JWK set.
type Set struct {
	Keys []Key
	// Unusable names each entry that was passed over although it seems meant for verifying, and
	// why. No text quotes the input.
	Unusable []string
}

// ParseSet reads a JWK set (RFC 7517 section 5). Entries that cannot be used are passed over, so
// that one of them does not disable the others: keys for another purpose (an unknown kty or crv, a
// use other than "sig", key_ops without "verify", or an unsupported alg), weak keys (Check), and
// malformed entries. Set.Unusable lists the latter two. Several keys may have the same kid.
//
// A private or symmetric key is an error, wherever it is in the set: what else its publisher says
// is not to be trusted. A set without any usable key is ErrNoKeys. Errors name the member and do
// not quote the input.
//
// Members that are null or "" count as absent. Base64url may be padded, and numbers and coordinates
// may have too many or too few leading zeros, as Java's BigInteger writes them. ErrPublished is not
// an error here: see Check.
func ParseSet(data []byte) (Set, error) {
	if len(data) > maxSet {
		return Set{}, fmt.Errorf("longer than %d bytes", maxSet)
	}
	set, err := object.Read(data, maxValues)
	if err != nil {
		return Set{}, err
	}
	return readSet(set)
}

// parseJSON reads a JWK or a JWK set.
func parseJSON(data []byte) (Set, string, error) {
	members, err := object.Read(data, maxValues)
	if err != nil {
		return Set{}, "", err
	}
	if _, isSet := members["keys"]; isSet {
		set, err := readSet(members)
		return set, "JWK set", err
	}
	key, err := readKey(members)
	if err != nil {
		return Set{}, "", err
	}
	return Set{Keys: []Key{key}}, "JWK", nil
}

func readSet(members map[string]any) (Set, error) {
	list, ok := members["keys"].([]any)
	if !ok {
		return Set{}, errors.New("keys: not an array")
	}
	var set Set
	for i, item := range list {
		key, err := readEntry(item)
		switch {
		case errors.Is(err, errPrivate), errors.Is(err, errSymmetric):
			return Set{}, fmt.Errorf("keys[%d]: %w", i, err)
		case errors.Is(err, errOtherPurpose), err == nil && slices.ContainsFunc(set.Keys, key.Equal):
		case err != nil:
			set.Unusable = append(set.Unusable, fmt.Sprintf("keys[%d]: %v", i, err))
		case len(set.Keys) == maxKeys:
			set.Unusable = append(set.Unusable, fmt.Sprintf("keys[%d]: more than %d keys", i, maxKeys))
		default:
			set.Keys = append(set.Keys, key)
		}
	}
	switch {
	case len(set.Keys) > 0:
		return set, nil
	case len(set.Unusable) > 0:
		return Set{}, fmt.Errorf("%w: %s", ErrNoKeys, set.Unusable[0])
	default:
		return Set{}, ErrNoKeys
	}
}

func readEntry(item any) (Key, error) {
	members, ok := item.(map[string]any)
	if !ok {
		return Key{}, errors.New("not an object")
	}
	return readKey(members)
}

// readKey reads one JWK. It refuses symmetric and private keys before anything else.
func readKey(m map[string]any) (Key, error) {
	maps.DeleteFunc(m, func(_ string, value any) bool { return value == nil || value == "" })
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := m[private]; ok && m["kty"] != "oct" {
			return Key{}, errPrivate
		}
	}
	if m["kty"] == "oct" {
		return Key{}, errSymmetric
	}
	kty, ok := m["kty"].(string)
	if !ok {
		return Key{}, errors.New("kty: not a string")
	}
	if err := checkPurpose(m); err != nil {
		return Key{}, err
	}
	read, ok := map[string]func(map[string]any) (crypto.PublicKey, error){"RSA": readRSA, "EC": readEC, "OKP": readOKP}[kty]
	if !ok {
		return Key{}, errOtherPurpose
	}
	key := Key{}
	var err error
	if key.ID, err = optionalString(m, "kid"); err != nil {
		return Key{}, err
	}
	if key.Algorithm, err = readAlgorithm(m); err != nil {
		return Key{}, err
	}
	if key.Public, err = read(m); err != nil {
		return Key{}, err
	}
	if err := Check(key.Public); err != nil && !errors.Is(err, ErrPublished) {
		return Key{}, err
	}
	if len(key.Algorithms()) == 0 {
		return Key{}, errors.New("alg: does not fit the key's kty and crv")
	}
	return key, nil
}

// checkPurpose returns errOtherPurpose unless the key is for verifying signatures (RFC 7517
// sections 4.2 and 4.3).
func checkPurpose(m map[string]any) error {
	use, err := optionalString(m, "use")
	if err != nil {
		return err
	}
	if use != "" && use != "sig" {
		return errOtherPurpose
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
		return errOtherPurpose
	}
	return nil
}

// readAlgorithm returns "" for a key without alg, and errOtherPurpose for an unsupported alg.
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
	return "", errOtherPurpose
}

func optionalString(m map[string]any, name string) (string, error) {
	value, ok := m[name]
	if !ok {
		return "", nil
	}
	s, ok := value.(string)
	if !ok || len(s) > maxID {
		return "", fmt.Errorf("%s: expected a string of at most %d bytes", name, maxID)
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
		return nil, errOtherPurpose
	}
	size := (curve.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4 // uncompressed (SEC 1 section 2.3.3)
	for i, name := range []string{"x", "y"} {
		number, err := readNumber(m, name)
		if err != nil {
			return nil, err
		}
		if number.BitLen() > 8*size {
			return nil, fmt.Errorf("%s: longer than the %d bytes of a coordinate on %s", name, size, crv)
		}
		number.FillBytes(point[1+i*size:][:size])
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
		return nil, errOtherPurpose
	}
	x, err := readBytes(m, "x")
	return ed25519.PublicKey(x), err
}

// readNumber reads a big-endian number with any number of leading zeros. RFC 7518 says how many an
// RSA key's numbers (section 2) and a coordinate (section 6.2.1.2) have, but Java's
// BigInteger.toByteArray writes one more or fewer.
func readNumber(m map[string]any, name string) (*big.Int, error) {
	data, err := readBytes(m, name)
	if err != nil {
		return nil, err
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
