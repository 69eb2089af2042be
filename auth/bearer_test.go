package auth

import (
	"strings"
	"testing"
)

func TestBearerToken(t *testing.T) {
	type values = []string
	f := func(authorization, xAuthToken values, wantToken string, wantCode Reason) {
		t.Helper()
		token, err := BearerToken(authorization, xAuthToken)
		if token != wantToken || code(err) != wantCode {
			t.Errorf("%q, %q: got %q, %v; want %q, %q", authorization, xAuthToken, token, err, wantToken, wantCode)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error quotes the header: %v", err)
		}
	}
	f(nil, nil, "", Missing)
	f(values{""}, values{""}, "", Missing)
	f(values{"Bearer"}, nil, "", Missing)
	f(values{"Bearer "}, nil, "", Missing)
	f(values{"Bearer", "bearer  "}, values{" "}, "", Missing)

	f(values{"Basic s3cret"}, nil, "", UnsupportedScheme)
	f(values{"s3cret"}, nil, "", UnsupportedScheme)
	f(values{"Bearer:s3cret"}, nil, "", UnsupportedScheme)
	f(values{"Bearer\ts3cret"}, nil, "", UnsupportedScheme)
	f(values{"BearerX s3cret"}, nil, "", UnsupportedScheme)
	f(values{"Token s3cret"}, values{"a"}, "", UnsupportedScheme)
	f(values{"Bearer a", "Basic s3cret"}, nil, "", UnsupportedScheme)

	f(values{"Bearer s3cret", "Bearer b"}, nil, "", ConflictingTokens)
	f(values{"Bearer s3cret"}, values{"b"}, "", ConflictingTokens)
	f(nil, values{"s3cret", "b"}, "", ConflictingTokens)
	f(values{"Bearer a"}, values{"a", "A"}, "", ConflictingTokens)
	f(nil, values{"a", "", "b"}, "", ConflictingTokens)

	f(values{"Bearer a"}, nil, "a", "")
	f(values{"bearer a"}, nil, "a", "")
	f(values{"BEARER a"}, nil, "a", "")
	f(values{"bEaReR   a "}, nil, "a", "")
	f(values{" Bearer a\t"}, nil, "a", "")
	f(nil, values{"a"}, "a", "")
	f(nil, values{" a "}, "a", "")
	f(values{""}, values{"a"}, "a", "")
	f(values{"Bearer "}, values{"a"}, "a", "")
	f(values{"Bearer a", "bearer a"}, values{"a", "a"}, "a", "")
	f(values{"Bearer a b"}, nil, "a b", "")                 // for the Authenticator to refuse
	f(nil, values{"Bearer a"}, "Bearer a", "")              // as well
	f(values{"Bearer a, Bearer b"}, nil, "a, Bearer b", "") // as well
}
