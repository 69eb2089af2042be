package auth

import (
	"crypto/elliptic"
	"crypto/rsa"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm is a signature algorithm that an issuer can be configured for. There is no "none".
type algorithm struct {
	method jwt.SigningMethod
	// secret is the least length of a shared secret in bytes (RFC 7518 section 3.2); 0: the algorithm is for public keys.
	secret int
	// curve is that of ECDSA, whose signatures are malleable: with (r, s), (r, n-s) verifies too.
	curve elliptic.Curve
}

// algorithms by alg (RFC 7518 section 3.1, RFC 8037).
var algorithms = map[string]algorithm{
	"EdDSA": {method: jwt.SigningMethodEdDSA},
	"RS256": {method: jwt.SigningMethodRS256},
	"RS384": {method: jwt.SigningMethodRS384},
	"RS512": {method: jwt.SigningMethodRS512},
	"PS256": {method: strictPSS(jwt.SigningMethodPS256)},
	"PS384": {method: strictPSS(jwt.SigningMethodPS384)},
	"PS512": {method: strictPSS(jwt.SigningMethodPS512)},
	"ES256": {method: jwt.SigningMethodES256, curve: elliptic.P256()},
	"ES384": {method: jwt.SigningMethodES384, curve: elliptic.P384()},
	"ES512": {method: jwt.SigningMethodES512, curve: elliptic.P521()},
	"HS256": {method: jwt.SigningMethodHS256, secret: 32},
	"HS384": {method: jwt.SigningMethodHS384, secret: 48},
	"HS512": {method: jwt.SigningMethodHS512, secret: 64},
}

// strictPSS wants a salt as long as the hash (RFC 7518 section 3.5), where golang-jwt takes any when it verifies.
func strictPSS(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          m.Options,
		VerifyOptions:    &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}

// algorithmName returns the one name of an algorithm that has two: RFC 9864 calls EdDSA over edwards25519 "Ed25519".
func algorithmName(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}
