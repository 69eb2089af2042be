package secureurl_test

import (
	"net/url"
	"testing"

	"github.com/ringstore/ringstore/configs/secureurl"
)

func TestIsSecure(t *testing.T) {
	for text, want := range map[string]bool{
		"https://sso.example.org/jwks":      true,
		"http://localhost:8080":             true,
		"http://LOCALHOST":                  true,
		"http://127.0.0.2":                  true,
		"http://[::1]:80":                   true,
		"http://sso.example.org":            false,
		"http://localhost.example.org":      false,
		"http://127.0.0.1.example.org":      false,
		"http://10.0.0.1":                   false,
		"http://":                           false,
		"https://":                          false,
		"https:opaque":                      false,
		"/jwks":                             false,
		"ftp://localhost":                   false,
		"http://localhost@sso.example.org/": false,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := secureurl.IsSecure(u); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
