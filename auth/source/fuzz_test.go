package source

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The keys' URL is secure, whatever the discovery document contains.
func FuzzKeysURL(f *testing.F) {
	const issuer = "https://sso.example.org"
	for _, seed := range []string{
		"", "null", "[]", `{"issuer": "https://sso.example.org", "jwks_uri": "https://sso.example.org/jwks"}`,
		`{"issuer": "https://sso.example.org", "jwks_uri": "http://localhost/jwks"}`,
		`{"issuer": "https://sso.example.org", "jwks_uri": "https://"}`, `{"issuer": 5, "jwks_uri": {}}`,
	} {
		f.Add([]byte(seed))
	}
	d := discovery{issuer: issuer}
	f.Fuzz(func(t *testing.T, document []byte) {
		uri, err := d.keysURL(document)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("%q", err)
			}
			return
		}
		if u, err := url.Parse(uri); err != nil || u.Scheme != "https" || u.Host == "" || !strings.Contains(string(document), issuer) {
			t.Errorf("%q: %q, %v", document, uri, err)
		}
	})
}

func FuzzFreshness(f *testing.F) {
	f.Add("max-age=60", "5")
	f.Add(`no-cache, max-age="99999999999"`, "-1")
	f.Add("max-age", "x")
	f.Fuzz(func(t *testing.T, control, age string) {
		fresh := freshness(http.Header{"Cache-Control": {control}, "Age": {age}})
		if fresh < 0 || fresh > 1<<31*time.Second {
			t.Errorf("%q, %q: %s", control, age, fresh)
		}
	})
}
