package auth

import "strings"

// BearerToken returns the token in a request's Authorization and X-Auth-Token headers. Callers pass
// all values that they received. The scheme is "Bearer" in upper or lower case (RFC 6750, RFC 9110
// section 11.1); X-Auth-Token holds the bare token, as in cc-backend. Empty values count as absent.
//
// The *Refusal is Missing without a token, UnsupportedScheme if any Authorization value has another
// scheme, and ConflictingTokens if there are several different tokens. The token is not validated.
func BearerToken(authorization, xAuthToken []string) (string, error) {
	var found string
	add := func(token string) error {
		if found != "" && token != "" && token != found {
			return refuse(ConflictingTokens, "several different tokens")
		}
		if token != "" {
			found = token
		}
		return nil
	}
	for _, value := range authorization {
		scheme, token, _ := strings.Cut(trim(value), " ")
		if scheme != "" && !strings.EqualFold(scheme, "Bearer") {
			return "", refuse(UnsupportedScheme, "an authorization scheme other than Bearer")
		}
		if err := add(trim(token)); err != nil {
			return "", err
		}
	}
	for _, value := range xAuthToken {
		if err := add(trim(value)); err != nil {
			return "", err
		}
	}
	if found == "" {
		return "", refuse(Missing, "")
	}
	return found, nil
}

// trim removes the optional white space around a header value (RFC 9110 section 5.6.3).
func trim(s string) string { return strings.Trim(s, " \t") }
