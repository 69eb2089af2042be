package auth

import (
	"encoding/base64"
	"strings"
)

// maxToken is the longest token looked at, in bytes. Keycloak's with many groups reach a few KiB.
const maxToken = 16 << 10

// A token is a JWT in the compact serialization (RFC 7515 section 7.1), taken apart and well formed, and not yet
// verified: nothing in it may be believed.
//
// It is read here once and strictly, because golang-jwt's parser passes over line breaks inside the token, duplicate
// members and crit, and because all of this must cost less than the signature check that it comes before.
type token struct {
	signed    string // what the signature covers: header and payload as they came, with the dot between them
	alg       string
	claims    map[string]any
	signature []byte
}

func readToken(s string) (*token, error) {
	if s == "" {
		return nil, refuse(Missing, "")
	}
	if len(s) > maxToken {
		return nil, refuse(TooLarge, "longer than 16 KiB")
	}
	if !compact(s) {
		return nil, refuse(Malformed, "not three base64url parts joined by dots")
	}
	lastDot := strings.LastIndexByte(s, '.')
	headerPart, claimsPart, _ := strings.Cut(s[:lastDot], ".")
	t := &token{signed: s[:lastDot]}

	header, err := decodeObject("header", headerPart)
	if err != nil {
		return nil, err
	}
	if t.alg, err = checkHeader(header); err != nil {
		return nil, err
	}
	if t.claims, err = decodeObject("claims", claimsPart); err != nil {
		return nil, err
	}
	if t.signature, err = decodeSegment("signature", s[lastDot+1:]); err != nil {
		return nil, err
	}
	return t, nil
}

// compact reports whether s is made of the base64url alphabet and exactly two dots. An encrypted token (JWE) has
// four, the JSON serializations have braces.
func compact(s string) bool {
	dots := 0
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		case c == '.':
			dots++
		default:
			return false
		}
	}
	return dots == 2
}

// checkHeader returns the alg that the token names, which is only ever compared with the one that is configured.
// jku, jwk, x5u, x5c and kid are not looked at, and neither is typ, in which issuers differ.
func checkHeader(header map[string]any) (alg string, err error) {
	// RFC 7515 section 4.1.11: what is listed as critical must be understood, and nothing is. RFC 7797 section 7
	// forbids b64 in a JWT's header.
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return "", refuse(UnsupportedCrit, "header: "+name)
		}
	}
	if cty, ok := header["cty"]; ok {
		s, ok := cty.(string)
		if !ok {
			return "", refuse(Malformed, "header: cty is not a string")
		}
		if strings.HasSuffix(strings.ToUpper(s), "JWT") { // "JWT" or "application/jwt" (RFC 7519 section 5.2)
			return "", refuse(Malformed, "a token nested in a token")
		}
	}
	alg, ok := header["alg"].(string)
	if !ok {
		return "", refuse(BadAlgorithm, "no alg")
	}
	return alg, nil
}

func decodeObject(part, segment string) (map[string]any, error) {
	data, err := decodeSegment(part, segment)
	if err != nil {
		return nil, err
	}
	object, err := readObject(data)
	if err != nil {
		return nil, refuse(Malformed, part+": "+err.Error())
	}
	return object, nil
}

// decodeSegment decodes base64url without padding and without stray bits at the end, so that a token has one
// spelling. The decoder would skip line breaks; compact has excluded them.
func decodeSegment(part, segment string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, refuse(Malformed, part+": not base64url")
	}
	return data, nil
}
