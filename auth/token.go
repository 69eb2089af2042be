package auth

import (
	"encoding/base64"
	"strings"

	"github.com/ringstore/ringstore/auth/internal/object"
)

// maxToken is the longest token looked at, in bytes. Keycloak's with many groups reach a few KiB.
const maxToken = 16 << 10

// maxValues bounds what decoding costs before anybody has vouched for the token: not much more than a signature.
const maxValues = 1024

// A token is a JWT in the compact serialization (RFC 7515 section 7.1), taken apart and well formed, and not yet
// verified: nothing in it may be believed.
//
// It is read here once and strictly, because golang-jwt's parser passes over line breaks inside the token, duplicate
// members and crit, and because all of this must cost less than the signature check that it comes before.
type token struct {
	raw       string // as it came
	signed    string // what the signature covers: header and payload as they came, with the dot between them
	alg       string
	kid       string
	hasKID    bool
	claims    map[string]any
	signature []byte
}

func readToken(s string) (*token, error) {
	t, payload, err := readJWS(s)
	if err != nil {
		return nil, err
	}
	t.claims, err = readObject("claims", payload)
	return t, err
}

// readJWS reads all but the payload, which may be anything to it.
func readJWS(s string) (t *token, payload []byte, err error) {
	if s == "" {
		return nil, nil, refuse(Missing, "")
	}
	if len(s) > maxToken {
		return nil, nil, refuse(TooLarge, "longer than 16 KiB")
	}
	if !compact(s) {
		return nil, nil, refuse(Malformed, "not three parts joined by dots")
	}
	lastDot := strings.LastIndexByte(s, '.')
	t = &token{raw: s, signed: s[:lastDot]}
	headerPart, payloadPart, _ := strings.Cut(t.signed, ".")
	data, err := decodeSegment("header", headerPart)
	if err != nil {
		return nil, nil, err
	}
	header, err := readObject("header", data)
	if err != nil {
		return nil, nil, err
	}
	if err := t.readHeader(header); err != nil {
		return nil, nil, err
	}
	if payload, err = decodeSegment("claims", payloadPart); err != nil {
		return nil, nil, err
	}
	if t.signature, err = decodeSegment("signature", s[lastDot+1:]); err != nil {
		return nil, nil, err
	}
	return t, payload, nil
}

// compact reports whether s is three parts joined by dots, on one line: the decoder, which refuses all else that is not
// base64url, would skip line breaks. An encrypted token (JWE) has four dots.
func compact(s string) bool {
	return strings.Count(s, ".") == 2 && strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0
}

// readHeader takes alg and kid, which are only ever compared with what is configured. jku, jwk, x5u and x5c are not
// looked at.
func (t *token) readHeader(header map[string]any) error {
	// RFC 7515 section 4.1.11: what is listed as critical must be understood, and nothing is. RFC 7797 section 7
	// forbids b64 in a JWT's header.
	for _, name := range []string{"crit", "b64"} {
		if _, ok := header[name]; ok {
			return refuse(UnsupportedCrit, "header: "+name)
		}
	}
	if cty, ok := header["cty"]; ok {
		s, ok := cty.(string)
		if !ok {
			return refuse(Malformed, "header: cty is not a string")
		}
		if strings.HasSuffix(strings.ToUpper(s), "JWT") { // "JWT" or "application/jwt" (RFC 7519 section 5.2)
			return refuse(Malformed, "a token nested in a token")
		}
	}
	if typ, ok := header["typ"]; ok {
		if s, ok := typ.(string); !ok || !isTokenType(s) {
			return refuse(WrongType, "header: typ is not that of an access token")
		}
	}
	if kid, ok := header["kid"]; ok {
		if t.kid, ok = kid.(string); !ok {
			return refuse(Malformed, "header: kid is not a string")
		}
		t.hasKID = t.kid != ""
	}
	alg, ok := header["alg"].(string)
	if !ok {
		return refuse(BadAlgorithm, "no alg")
	}
	t.alg = algorithmName(alg)
	return nil
}

// isTokenType reports whether a header's typ may be an access token's: "JWT" (RFC 7519 section 5.1) or "at+jwt" (RFC
// 9068 section 2.1). Other explicit types are of tokens for other purposes (RFC 8725 section 3.11).
func isTokenType(typ string) bool {
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "jwt", "at+jwt":
		return true
	}
	return false
}

func readObject(part string, data []byte) (map[string]any, error) {
	members, err := object.Read(data, maxValues)
	if err != nil {
		return nil, refuse(Malformed, part+": "+err.Error())
	}
	return members, nil
}

// decodeSegment decodes base64url without padding and without stray bits at the end, so that a token has one
// spelling.
func decodeSegment(part, segment string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, refuse(Malformed, part+": not base64url")
	}
	return data, nil
}

func encodeSegment(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
