package auth

import "strings"

// BearerToken finds the one token among the values of a request's Authorization and X-Auth-Token headers. A door
// passes all the values that it received. The scheme is "Bearer" in any case (RFC 6750, RFC 9110 section 11.1);
// X-Auth-Token is the bare token, as cc-backend accepts it. Empty values count as absent.
//
// The *Refusal is Missing when there is no token, UnsupportedScheme when any Authorization value has another scheme,
// and ConflictingTokens when there are several that differ. The token itself is not looked at.
func BearerToken(authorization, xAuthToken []string) (string, error) {
	var found string
	add := func(token string) error {
		if found != "" && token != "" && token != found {
			return refuse(ConflictingTokens, "several tokens that differ")
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

// trim removes the optional white space (RFC 9110 section 5.6.3) around a header's value.
func trim(s string) string { return strings.Trim(s, " \t") }
