package keyring

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
)

// logLines collects log lines.
type logLines struct {
	mu  sync.Mutex
	all []string
}

func (l *logLines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, string(line))
	return len(line), nil
}

func (l *logLines) count(part string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func (l *logLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// setWith returns the JWK set of the signers with further entries, as JSON, before them.
func setWith(t *testing.T, entries []string, signers ...*authtest.Signer) []byte {
	t.Helper()
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(keySet(t, signers...), &set); err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		set.Keys = append([]json.RawMessage{json.RawMessage(entry)}, set.Keys...)
	}
	data, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// unusableEntries are entries of real sets.
var unusableEntries = map[string]string{
	"1024 bits":         `{"kty":"RSA","kid":"old","use":"sig","alg":"RS256","n":"` + strings.Repeat("w", 171) + `","e":"AQAB"}`,
	"no e":              `{"kty":"RSA","kid":"old","use":"sig","alg":"RS256","n":"` + strings.Repeat("w", 342) + `"}`,
	"x too short for y": `{"kty":"EC","kid":"example","crv":"P-256","x":"7ctn9jXL_oYnSE_jwiDyI3mxEy4s2CxbIYB_i5tmSg","y":"zuUFbsHCKVZhZ13IZMluI0lDXhzQkNy7MO-cYK7sWdiK"}`,
	"no kty":            `{"kid":"old"}`,
	"not an object":     `"r1"`,
}

// TestUnusableEntries: they are passed over and logged once, and the other keys are used (RFC 7517
// section 5).
func TestUnusableEntries(t *testing.T) {
	for name, entry := range unusableEntries {
		t.Run(name, func(t *testing.T) {
			var log logLines
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(setWith(t, []string{entry}, rsaSigner()))
			}))
			defer web.Close()
			k, err := Open(t.Context(), Options{PollInterval: 20 * time.Millisecond, Log: log.logger(), Issuers: []Issuer{{
				Issuer: auth.Issuer{Name: "web", Issuer: "web"}, JWKSURLs: []string{web.URL},
			}}})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			if got := verdict(k, rsaSigner().Token(claims("web"))); got != "" {
				t.Errorf("the sound key: %s", got)
			}
			time.Sleep(200 * time.Millisecond) // several polls
			if n := log.count("keys[0]"); n != 1 {
				t.Errorf("logged %d times: %q", n, log.all)
			}
		})
	}
}

// TestWithdrawnKeys: a key that the set no longer holds is dropped, whatever else is in the set.
func TestWithdrawnKeys(t *testing.T) {
	bad := unusableEntries["1024 bits"]
	second := authtest.NewSigner("RS256", "r2")
	f := func(name string, now []byte, want string) {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "set.json"), keySet(t, rsaSigner()))
			k := open(t, Options{Issuers: []Issuer{{
				Issuer: auth.Issuer{Name: "test", Issuer: "test", Algorithms: []string{"RS256"}}, JWKSFile: path,
			}}})
			token := rsaSigner().Token(claims("test"))
			if got := verdict(k, token); got != "" {
				t.Fatal(got)
			}
			write(t, path, now)
			eventually(t, "the withdrawal", func() bool { return strings.Contains(verdict(k, token), want) })
			write(t, path, keySet(t, rsaSigner()))
			eventually(t, "the key to be back", func() bool { return verdict(k, token) == "" })
		})
	}
	f("beside an unusable entry", setWith(t, []string{bad}, second), "unknown_key")
	f("an empty set", []byte(`{"keys":[]}`), "unknown_key")
	f("only unusable entries", setWith(t, []string{bad}), "unknown_key")
	f("only keys for encryption", []byte(`{"keys":[{"kty":"RSA","use":"enc","n":"wQ","e":"AQAB"}]}`), "unknown_key")
	f("only keys for other algorithms", []byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`), "unknown_key")
	many := make([]string, 5)
	for i := range many {
		key, err := json.Marshal(jose.JSONWebKey{Key: authtest.NewSigner("EdDSA", "").Public()})
		if err != nil {
			t.Fatal(err)
		}
		many[i] = string(key)
	}
	f("beside many keys without a kid", setWith(t, many, second), "unknown_key")
}

// TestSecretsInASet: a set with a private or symmetric key is refused as a whole, and the previous
// keys stay.
func TestSecretsInASet(t *testing.T) {
	for name, entry := range map[string]string{
		"symmetric": `{"kty":"oct","kid":"s","k":"AAAA"}`,
		"private":   `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`,
	} {
		t.Run(name, func(t *testing.T) {
			var log logLines
			second := authtest.NewSigner("RS256", "r2")
			path := write(t, filepath.Join(t.TempDir(), "set.json"), keySet(t, rsaSigner()))
			k, err := Open(t.Context(), Options{PollInterval: time.Hour, Log: log.logger(), Issuers: []Issuer{{
				Issuer: auth.Issuer{Name: "test", Issuer: "test"}, JWKSFile: path,
			}}})
			if err != nil {
				t.Fatal(err)
			}
			defer k.Close()
			write(t, path, setWith(t, []string{entry}, second))
			eventually(t, "the refusal", func() bool { return log.count("refused") > 0 })
			if got := verdict(k, second.Token(claims("test"))); got != "unknown_key" {
				t.Errorf("a key beside the secret: %q", got)
			}
			if got := verdict(k, rsaSigner().Token(claims("test"))); got != "" {
				t.Errorf("the previous key: %q", got)
			}
		})
	}
}

// TestKeysWithTheSameKID: Keycloak lists a key once for each of its algorithms, under one kid, and
// other issuers use one kid for keys of different types.
func TestKeysWithTheSameKID(t *testing.T) {
	const kid = "RId+oQm2IhmkUI1wTQUBPQm7jXY="
	rs256 := rsaSigner().Named(kid)
	es256, rs512 := authtest.NewSigner("ES256", kid), authtest.NewSigner("RS512", kid)
	entry := func(s *authtest.Signer, use, alg string) jose.JSONWebKey {
		return jose.JSONWebKey{Key: s.Public(), KeyID: kid, Use: use, Algorithm: alg}
	}
	data, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		entry(rs256, "enc", "RSA-OAEP"), entry(rs256, "sig", "RS256"), entry(rs512, "sig", "RS512"), entry(rs256, "sig", "RS384"),
		entry(es256, "sig", "ES256"), entry(rs256, "sig", "RS256"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	k := open(t, Options{Issuers: []Issuer{{
		Issuer: auth.Issuer{Name: "test", Issuer: "test"}, JWKSFile: write(t, filepath.Join(t.TempDir(), "set.json"), data),
	}}})
	for name, s := range map[string]*authtest.Signer{"RS256": rs256, "RS512": rs512, "ES256": es256} {
		if got := verdict(k, s.Token(claims("test"))); got != "" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if got := verdict(k, authtest.NewSigner("ES256", kid).Token(claims("test"))); got != string(auth.BadSignature) {
		t.Errorf("a forgery: %q", got)
	}
}

// TestReloadAfterWithdrawal: a new configuration does not take over keys that their set no longer
// holds.
func TestReloadAfterWithdrawal(t *testing.T) {
	var empty atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if empty.Load() {
			_, _ = w.Write([]byte(`{"keys":[]}`))
			return
		}
		_, _ = w.Write(keySet(t, rsaSigner()))
	}))
	defer web.Close()
	options := Options{PollInterval: time.Hour, Log: discard, Issuers: []Issuer{{
		Issuer: auth.Issuer{Name: "web", Issuer: "web"}, JWKSURLs: []string{web.URL},
	}}}
	k := open(t, options)
	token := rsaSigner().Token(claims("web"))
	if got := verdict(k, token); got != "" {
		t.Fatal(got)
	}
	empty.Store(true)
	for range 2 {
		if err := k.Reload(t.Context(), options); err != nil {
			t.Fatal(err)
		}
		if got := verdict(k, token); got != string(auth.UnknownKey) && !strings.Contains(got, string(auth.Refreshing)) {
			t.Errorf("%q, want the key to be withdrawn", got)
		}
	}
}
