package auth

import (
	"math"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest subject, project or token id, in bytes.
const maxName = 256

// maxDate is the last second of the year 9999: later ones are mistakes (milliseconds) or mischief.
const maxDate = 253402300799

// validity is when a token holds; a zero time is a claim that is absent. An exp of 0 is not absent but 1970.
type validity struct{ expires, notBefore, issued time.Time }

func readValidity(claims map[string]any) (v validity, err error) {
	if v.expires, err = readDate(claims, "exp"); err != nil {
		return v, err
	}
	if v.notBefore, err = readDate(claims, "nbf"); err != nil {
		return v, err
	}
	v.issued, err = readDate(claims, "iat")
	return v, err
}

// readDate reads a NumericDate (RFC 7519 section 2): a JSON number, fractions allowed.
func readDate(claims map[string]any, name string) (time.Time, error) {
	value, ok := claims[name]
	if !ok {
		return time.Time{}, nil
	}
	seconds, ok := value.(float64)
	if !ok {
		return time.Time{}, refuse(BadClaims, name+" is not a number")
	}
	if math.Signbit(seconds) || seconds > maxDate {
		return time.Time{}, refuse(BadClaims, name+" is out of range")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
}

func (v validity) check(now time.Time, leeway time.Duration, requireExpiry bool) error {
	switch {
	case v.expires.IsZero() && requireExpiry:
		return refuse(NoExpiry, "")
	case !v.expires.IsZero() && !now.Before(v.expires.Add(leeway)):
		return refuse(Expired, "")
	case now.Add(leeway).Before(v.notBefore):
		return refuse(NotYetValid, "")
	case now.Add(leeway).Before(v.issued):
		return refuse(IssuedInFuture, "")
	}
	return nil
}

// readPrincipal reads who the claims of cc-backend's tokens speak for: sub, roles, projects, jti.
func readPrincipal(claims map[string]any) (*Principal, error) {
	subject, ok := claims["sub"].(string)
	if !ok || !isName(subject) {
		return nil, refuse(BadClaims, "sub is not a name")
	}
	roles, err := readStrings(claims, "roles")
	if err != nil {
		return nil, err
	}
	projects, err := readStrings(claims, "projects")
	if err != nil {
		return nil, err
	}
	for _, project := range projects {
		if !isName(project) {
			return nil, refuse(BadClaims, "projects has an item that is not a name")
		}
	}
	p := &Principal{Subject: subject, JobUser: subject, Projects: projects}
	for _, name := range roles {
		role, _ := ParseRole(name)
		p.Roles |= role
	}
	if id, ok := claims["jti"]; ok {
		if p.TokenID, ok = id.(string); !ok || !isName(p.TokenID) {
			return nil, refuse(BadClaims, "jti is not a name")
		}
	}
	return p, nil
}

// readStrings reads an array of strings; an absent claim is an empty one.
func readStrings(claims map[string]any, name string) ([]string, error) {
	value, ok := claims[name]
	if !ok {
		return nil, nil
	}
	array, ok := value.([]any)
	if !ok {
		return nil, refuse(BadClaims, name+" is not an array")
	}
	list := make([]string, len(array))
	for i, item := range array {
		if list[i], ok = item.(string); !ok {
			return nil, refuse(BadClaims, name+" has an item that is not a string")
		}
	}
	return list, nil
}

// isName reports whether s can stand for somebody in a comparison and in a log: not empty, not too long, printable,
// no space around it, and without U+FFFD, to which the JSON decoder maps every broken escape alike.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsPrint(r)
	})
}
