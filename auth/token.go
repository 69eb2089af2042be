package auth

import (
	"encoding/base64"
	"strings"

	"github.com/ringstore/ringstore/auth/internal/object"
)

// maxToken is the maximum length of a token, in bytes. Keycloak's tokens with many groups reach a
// few KiB.
const maxToken = 16 << 10

// maxValues limits the cost of decoding a token whose signature has not been checked to a few
// signature checks.
const maxValues = 1024

// A token is a decoded JWT in the compact serialization (RFC 7515 section 7.1). It is well-formed
// but not verified: nothing in it can be trusted.
//
// It is parsed here, strictly and once, because golang-jwt's parser ignores line breaks inside the
// token, duplicate members and crit, and because parsing must cost less than the signature check
// that follows.
type token struct {
	raw       string // as received
	signed    string // the part that the signature covers: header and payload as received, with the dot between them
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

// readJWS decodes everything but the payload's content.
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

// compact reports whether s is three parts joined by dots, without line breaks: the base64url
// decoder would skip those, and refuses all other foreign characters. An encrypted token (JWE) has
// four dots.
func compact(s string) bool {
	return strings.Count(s, ".") == 2 && strings.IndexByte(s, '\n') < 0 && strings.IndexByte(s, '\r') < 0
}

// readHeader reads alg and kid, which are only compared with the configuration. jku, jwk, x5u and
// x5c are ignored.
func (t *token) readHeader(header map[string]any) error {
	// RFC 7515 section 4.1.11: extensions listed as critical must be supported, and we support
	// none. RFC 7797 section 7 forbids b64 in a JWT's header.
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

// isTokenType reports whether a header's typ is possible for an access token: "JWT" (RFC 7519
// section 5.1) or "at+jwt" (RFC 9068 section 2.1). Other types mark tokens for other purposes (RFC
// 8725 section 3.11).
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

// decodeSegment decodes base64url. Padding and stray bits at the end are errors, so that a token
// has only one valid form.
func decodeSegment(part, segment string) ([]byte, error) {
	data, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil {
		return nil, refuse(Malformed, part+": not base64url")
	}
	return data, nil
}

func encodeSegment(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }
