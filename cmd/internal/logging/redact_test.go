package logging

import (
	"bytes"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
)

// TestTokensAreRedacted: in every part of a record, in every format and in every form.
func TestTokensAreRedacted(t *testing.T) {
	token := authtest.NewIssuer("i").Token(map[string]any{"sub": "alice", "exp": 2000000000})
	b64 := base64.RawURLEncoding.EncodeToString
	spaced := b64([]byte("\n { \"alg\": \"EdDSA\" }")) + "." + b64([]byte(`{"sub":"alice"}`)) + ".c2ln"
	foreign := b64([]byte(`{"kid":"ключ","alg":"EdDSA"}`)) + "." + b64([]byte(`{"sub":"alice"}`)) + ".c2ln"
	request, err := http.NewRequest("GET", "http://h/"+token+"?"+token+"=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{
		token, spaced, foreign, token[:strings.LastIndexByte(token, '.')], token[:strings.IndexByte(token, '.')+5], strings.ReplaceAll(token, ".", "%2E"),
		"Bearer " + token, "key-" + token, `"` + token + `"`, "/api/" + token + "/x", token + "." + token + ".." + token, "a\n" + token, "%" + token,
	} {
		for _, format := range []string{Text, JSON} {
			for name, write := range map[string]func(*slog.Logger){
				"message":  func(l *slog.Logger) { l.Info(secret) },
				"value":    func(l *slog.Logger) { l.Info("m", "k", secret) },
				"key":      func(l *slog.Logger) { l.Info("m", secret, 1) },
				"error":    func(l *slog.Logger) { l.Info("m", "error", errors.New("x: "+secret)) },
				"any":      func(l *slog.Logger) { l.Info("m", "k", []string{secret}) },
				"group":    func(l *slog.Logger) { l.WithGroup(secret).Info("m", "k", 1) },
				"attr":     func(l *slog.Logger) { l.With("k", secret).Info("m") },
				"url":      func(l *slog.Logger) { l.Info("m", "url", request.URL, "query", url.QueryEscape(secret)) },
				"unmarked": func(l *slog.Logger) { l.Info("m", []any{secret}...) },
			} {
				var out bytes.Buffer
				log, err := New(&out, "info", format, false)
				if err != nil {
					t.Fatal(err)
				}
				write(log)
				if !strings.Contains(out.String(), "[token]") {
					t.Errorf("%s, %s, %.20q: %s", format, name, secret, out.String())
				}
				if found := authtest.SecretsIn(out.String(), token[len(token)-20:], b64([]byte(`{"sub":"alice"}`))); len(found) > 0 {
					t.Errorf("%s, %s: %q", format, name, found)
				}
			}
		}
	}
}

// TestNamesAreNotRedacted: names with dots are no tokens.
func TestNamesAreNotRedacted(t *testing.T) {
	for _, name := range []string{
		"sso.example.org", "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db48/v2.0", "keyholder-host.fritz.nhr.fau.de",
		"viewonline-host.example.org", "/var/lib/ringstore/checkpoints/ringstore/windows-00000001.rsw", "ringstore_nats_refused_total.x",
		"127.0.0.1:8082", "2027-01-15T08:00:00.123456789Z", "took=1.234567890123s", "v0.0.0-20260101000000-abcdef012345", "hpc.metrics.fritz.node-0001",
		"eyJhbGciOiJFZERTQSJ9", "heyKitty-0001.cluster.example.org",
	} {
		if got := string(redact([]byte(name))); got != name {
			t.Errorf("%s: %s", name, got)
		}
	}
}
