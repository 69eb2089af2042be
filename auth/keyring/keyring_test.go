package keyring

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/authtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var discard = slog.New(slog.DiscardHandler)

// rsaSigner is made once, which takes a while.
var rsaSigner = sync.OnceValue(func() *authtest.Signer { return authtest.NewSigner("RS256", "r1") })

func publicPEM(t *testing.T, s *authtest.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// keySet returns a JWK set of RSA keys.
func keySet(t *testing.T, signers ...*authtest.Signer) []byte {
	t.Helper()
	keys := []map[string]any{}
	text := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	for _, s := range signers {
		key := s.Public().(*rsa.PublicKey)
		keys = append(keys, map[string]any{"kty": "RSA", "kid": s.KID(), "n": text(key.N), "e": text(big.NewInt(int64(key.E)))})
	}
	data, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// write replaces a file in one step.
func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path)); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, o Options) *Keyring {
	t.Helper()
	if o.PollInterval == 0 {
		o.PollInterval = time.Hour
	}
	o.Log = discard
	k, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

func claims(iss string) map[string]any {
	c := map[string]any{"sub": "alice", "roles": []string{"user"}, "exp": time.Now().Add(time.Hour).Unix()}
	if iss != "" {
		c["iss"] = iss
	}
	return c
}

// verdict returns "" for an accepted token, or why it was refused.
func verdict(k *Keyring, token string) string {
	_, err := k.Authenticate(context.Background(), token)
	if err == nil {
		return ""
	}
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return string(refusal.Code)
	}
	return err.Error()
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestSources: an issuer's keys may come from anywhere, and from several places at once.
func TestSources(t *testing.T) {
	ed, other, hs := authtest.NewSigner("EdDSA", ""), authtest.NewSigner("EdDSA", "k2"), authtest.NewSigner("HS256", "")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(keySet(t, rsaSigner()))
	}))
	defer web.Close()
	dir := t.TempDir()
	read := func(data []byte) func(context.Context) ([]byte, error) {
		return func(context.Context) ([]byte, error) { return data, nil }
	}
	f := func(name string, signer *authtest.Signer, settings auth.Issuer, i Issuer) {
		t.Helper()
		settings.Name, settings.Issuer = "test", "test"
		i.Issuer = settings
		k := open(t, Options{Issuers: []Issuer{i}})
		if got := verdict(k, signer.Token(claims("test"))); got != "" {
			t.Errorf("%s: %s", name, got)
		}
		if got := verdict(k, authtest.NewSigner("EdDSA", signer.KID()).Token(claims("test"))); got == "" {
			t.Errorf("%s: accepts a token of another key", name)
		}
	}
	f("a plain key", ed, auth.Issuer{}, Issuer{Ed25519Key: &Value{Path: "key", Data: publicPEM(t, ed)}})
	f("a key", ed, auth.Issuer{}, Issuer{PublicKey: &Value{Path: "key", Data: publicPEM(t, ed)}})
	f("a key with a kid", other, auth.Issuer{}, Issuer{PublicKey: &Value{Path: "key", Data: publicPEM(t, other)}, KeyID: "k2"})
	f("a reference", ed, auth.Issuer{}, Issuer{PublicKey: &Value{Path: "key", Reference: "env:KEY", Read: read(publicPEM(t, ed))}})
	f("a file", ed, auth.Issuer{}, Issuer{PublicKeyFile: write(t, filepath.Join(dir, "ed.pem"), publicPEM(t, ed))})
	f("a key set", rsaSigner(), auth.Issuer{}, Issuer{JWKSFile: write(t, filepath.Join(dir, "set.json"), keySet(t, rsaSigner()))})
	f("a URL", rsaSigner(), auth.Issuer{}, Issuer{JWKSURLs: []string{web.URL}})
	f("a shared secret", hs, auth.Issuer{Algorithms: []string{"HS256"}}, Issuer{SharedSecret: &Value{Path: "secret", Data: hs.Secret()}})

	k := open(t, Options{Issuers: []Issuer{{
		Issuer:        auth.Issuer{Name: "test", Issuer: "test"},
		PublicKeyFile: filepath.Join(dir, "ed.pem"), JWKSURLs: []string{web.URL},
	}}})
	for _, s := range []*authtest.Signer{ed, rsaSigner()} {
		if got := verdict(k, s.Token(claims("test"))); got != "" {
			t.Errorf("two sources: %s", got)
		}
	}
}

// TestOptionsThatCannotBeUsed are found without reading anything, and named by their path.
func TestOptionsThatCannotBeUsed(t *testing.T) {
	f := func(want string, i Issuer) {
		t.Helper()
		if i.Issuer.Name == "" {
			i.Issuer.Name = "test"
		}
		if err := Check(Options{Issuers: []Issuer{i}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	ed := publicPEM(t, authtest.NewSigner("EdDSA", ""))
	f("main.jwt-public-key: ", Issuer{Ed25519Key: &Value{Path: "main.jwt-public-key", Data: make([]byte, 32)}})
	f("auth.issuers[0].public-key: ", Issuer{PublicKey: &Value{Path: "auth.issuers[0].public-key", Data: []byte("none")}})
	f("exactly one key", Issuer{KeyID: "x", PublicKey: &Value{Path: "p", Data: keySet(t, rsaSigner())}})
	f("auth.issuers[0].shared-secret: ", Issuer{SharedSecret: &Value{Path: "auth.issuers[0].shared-secret", Data: []byte("short")}})
	f("auth.", Issuer{Issuer: auth.Issuer{Name: "test", Algorithms: []string{"none"}}, PublicKey: &Value{Path: "p", Data: ed}})

	unread := Issuer{Issuer: auth.Issuer{Name: "test"}, PublicKeyFile: "/none/such", PublicKey: &Value{
		Path: "p", Read: func(context.Context) ([]byte, error) { t.Error("the reference was read"); return nil, nil },
	}}
	if err := Check(Options{Issuers: []Issuer{unread}}); err != nil {
		t.Error(err)
	}
}

// TestUnreadableSources: files and references must be readable when the keyring is opened, URLs
// need not be.
func TestUnreadableSources(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	failing := func(context.Context) ([]byte, error) { return nil, fs.ErrPermission }
	f := func(want string, i Issuer) {
		t.Helper()
		i.Issuer = auth.Issuer{Name: "test", Issuer: "test"}
		if _, err := Open(t.Context(), Options{Issuers: []Issuer{i}, PollInterval: time.Hour, Log: discard}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f(missing, Issuer{PublicKeyFile: missing})
	f(missing, Issuer{JWKSFile: missing})
	f("path: env:X: permission denied", Issuer{PublicKey: &Value{Path: "path", Reference: "env:X", Read: failing}})
	k := open(t, Options{Issuers: []Issuer{{Issuer: auth.Issuer{Name: "test", Issuer: "test"}, JWKSURLs: []string{"http://127.0.0.1:1/jwks"}}}})
	if got := verdict(k, rsaSigner().Token(claims("test"))); !strings.Contains(got, "no_keys") {
		t.Errorf("without keys: %s", got)
	}
}

// TestFilesAreFollowed: a replaced key file and revocation file take effect, unusable content
// changes nothing.
func TestFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	before, after := authtest.NewSigner("EdDSA", ""), authtest.NewSigner("EdDSA", "")
	key := write(t, filepath.Join(dir, "key.pem"), publicPEM(t, before))
	revoked := write(t, filepath.Join(dir, "revoked.json"), []byte(`{"subjects": []}`))
	k := open(t, Options{Issuers: []Issuer{{Issuer: auth.Issuer{Name: "test", Issuer: "test"}, PublicKeyFile: key}}, RevocationFile: revoked})
	old, young := before.Token(claims("test")), after.Token(claims("test"))
	if got := verdict(k, old); got != "" {
		t.Fatal(got)
	}
	write(t, key, []byte("no key"))
	write(t, key, publicPEM(t, after))
	eventually(t, "the new key", func() bool { return verdict(k, young) == "" })
	if got := verdict(k, old); got != string(auth.BadSignature) {
		t.Errorf("the old key: %q", got)
	}
	write(t, revoked, []byte(`{"subjects": [{"issuer": "test", "sub": "alice"}]}`))
	eventually(t, "the revocation", func() bool { return verdict(k, young) == string(auth.Revoked) })
}

// TestReload: settings and keys are those of the new options; after an error nothing has changed;
// keys of a URL that cannot be read any more stay.
func TestReload(t *testing.T) {
	var down atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write(keySet(t, rsaSigner()))
	}))
	defer web.Close()
	ed, fresh := authtest.NewSigner("EdDSA", ""), authtest.NewSigner("EdDSA", "")
	options := func(key *authtest.Signer, audience ...string) Options {
		return Options{PollInterval: time.Hour, Log: discard, Issuers: []Issuer{
			{Issuer: auth.Issuer{Name: "plain"}, Ed25519Key: &Value{Path: "key", Data: publicPEM(t, key)}},
			{Issuer: auth.Issuer{Name: "web", Issuer: "web", Audience: audience}, JWKSURLs: []string{web.URL}},
		}}
	}
	k := open(t, options(ed))
	chain := k.Chain()
	want := func(what string, signer *authtest.Signer, iss, code string) {
		t.Helper()
		if got := verdict(k, signer.Token(claims(iss))); got != code {
			t.Errorf("%s: %q, want %q", what, got, code)
		}
	}
	want("the plain key", ed, "", "")
	want("the URL's key", rsaSigner(), "web", "")

	bad := options(fresh)
	bad.Issuers[1].PublicKeyFile = "/none/such"
	if err := k.Reload(t.Context(), bad); err == nil {
		t.Error("a missing file is accepted")
	}
	want("after an error", ed, "", "")

	down.Store(true)
	if err := k.Reload(t.Context(), options(fresh)); err != nil {
		t.Fatal(err)
	}
	want("the plain key that was replaced", ed, "", string(auth.BadSignature))
	want("the new plain key", fresh, "", "")
	want("the URL's key, which cannot be read", rsaSigner(), "web", "")

	if err := k.Reload(t.Context(), options(fresh, "somebody else")); err != nil {
		t.Fatal(err)
	}
	want("a setting", rsaSigner(), "web", string(auth.WrongAudience))
	if k.Chain() != chain {
		t.Error("the chain is another one")
	}
}

// TestRefresh: a token with an unknown kid makes the keyring ask the URL again.
func TestRefresh(t *testing.T) {
	late := rsaSigner().Named("r2")
	var mu sync.Mutex
	content := keySet(t, rsaSigner())
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		_, _ = w.Write(content)
	}))
	defer web.Close()
	k := open(t, Options{PollInterval: time.Hour, Issuers: []Issuer{{Issuer: auth.Issuer{Name: "web", Issuer: "web"}, JWKSURLs: []string{web.URL}}}})
	mu.Lock()
	content = keySet(t, rsaSigner(), late)
	mu.Unlock()
	token := late.Token(claims("web"))
	eventually(t, "the new kid", func() bool { return verdict(k, token) == "" })
}
