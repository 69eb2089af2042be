package auth

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxName is the maximum length of a subject, project or token id, in bytes.
const maxName = 256

// maxDate is the last second of the year 9999. Later dates are mistakes, such as milliseconds, or
// attacks.
const maxDate = 253402300799

// validity is a token's time range. A zero time stands for an absent claim; an exp of 0 is not
// absent but 1970.
type validity struct{ expires, notBefore, issued time.Time }

// readValidity reads exp, nbf and iat. With nullExpiry, an exp of null counts as absent.
func readValidity(claims map[string]any, nullExpiry bool) (v validity, err error) {
	if value, ok := claims["exp"]; !ok || value != nil || !nullExpiry {
		if v.expires, err = readDate(claims, "exp"); err != nil {
			return v, err
		}
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
	number, ok := value.(json.Number)
	if !ok {
		return time.Time{}, refuse(BadClaims, name+" is not a number")
	}
	seconds, err := float(number)
	if err != nil || math.Signbit(seconds) || seconds > maxDate {
		return time.Time{}, refuse(BadClaims, name+" is out of range")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC(), nil
}

// float parses a number. Long ones are refused: parsing them can take as long as verifying a
// signature.
func float(number json.Number) (float64, error) {
	if len(number) > 64 {
		return 0, strconv.ErrRange
	}
	return number.Float64()
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

// checkLifetime refuses a token whose lifetime exceeds limit; 0 means no limit. The lifetime begins
// at iat, at nbf if there is no iat, or else now. check is responsible for tokens without exp.
func (v validity) checkLifetime(now time.Time, limit time.Duration) error {
	if limit == 0 || v.expires.IsZero() {
		return nil
	}
	from := now
	switch {
	case !v.issued.IsZero():
		from = v.issued
	case !v.notBefore.IsZero():
		from = v.notBefore
	}
	if v.expires.Sub(from) > limit {
		return refuse(TooLongLived, "")
	}
	return nil
}

// IsName reports whether s is safe to compare with other names and to log: not empty, at most 256
// bytes, printable, without space around it, and without U+FFFD, to which the JSON decoder maps
// every broken escape alike.
func IsName(s string) bool {
	return s != "" && len(s) <= maxName && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r == utf8.RuneError || !unicode.IsPrint(r)
	})
}
