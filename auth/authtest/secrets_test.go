package authtest

import (
	"strings"
	"testing"
)

// TestSecretsIn: what is looked for in logs would be found.
func TestSecretsIn(t *testing.T) {
	f := func(log string, want int) {
		t.Helper()
		if got := SecretsIn(log, "hunter2", "the-token"); len(got) != want {
			t.Errorf("%.100q: %q, want %d", log, got, want)
		}
	}
	token := NewIssuer("one").Token(map[string]any{"sub": "alice"})
	header, rest, _ := strings.Cut(token, ".")
	claims, _, _ := strings.Cut(rest, ".")
	f(`level=DEBUG msg=request error="bad token `+token+`"`, 1)
	f(header+"."+claims, 1)
	f(`{"msg":"request","Authorization":"Bearer 0123456789abcdef"}`, 1)
	f("password=the-token other=hunter2", 2)
	f("seed=SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY", 1)
	f("-----BEGIN PRIVATE KEY-----", 1)
	f(`level=INFO msg="the token's roles do not permit this" issuer=jwt-public-key subject=eve`, 0)
	f(`WWW-Authenticate: Bearer realm="ringstore"`, 0)
}
