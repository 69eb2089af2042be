package auth

import (
	"crypto/elliptic"
	"crypto/rsa"

	"github.com/golang-jwt/jwt/v5"
)

// algorithm is a signature algorithm that an issuer can be configured for. There is no "none".
type algorithm struct {
	method jwt.SigningMethod
	// minSecret is the minimum length of a shared secret in bytes (RFC 7518 section 3.2); 0 for
	// public-key algorithms.
	minSecret int
	// curve is set for ECDSA, whose signatures are malleable: if (r, s) verifies, so does (r, n-s).
	curve elliptic.Curve
}

// algorithms maps alg (RFC 7518 section 3.1, RFC 8037) to the algorithm.
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
	"HS256": {method: jwt.SigningMethodHS256, minSecret: 32},
	"HS384": {method: jwt.SigningMethodHS384, minSecret: 48},
	"HS512": {method: jwt.SigningMethodHS512, minSecret: 64},
}

// strictPSS requires a salt as long as the hash (RFC 7518 section 3.5). golang-jwt accepts any when
// it verifies.
func strictPSS(m *jwt.SigningMethodRSAPSS) jwt.SigningMethod {
	return &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: m.SigningMethodRSA,
		Options:          m.Options,
		VerifyOptions:    &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	}
}

// algorithmName normalizes the name of an algorithm: RFC 9864 calls EdDSA over edwards25519
// "Ed25519".
func algorithmName(alg string) string {
	if alg == "Ed25519" {
		return "EdDSA"
	}
	return alg
}
