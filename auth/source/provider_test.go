package source_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringstore/ringstore/auth/source"
	"github.com/ringstore/ringstore/auth/source/sourcetest"
)

// keyIDs records the kids of every JWK set that was applied.
type keyIDs struct {
	mu   sync.Mutex
	sets [][]string
}

func (k *keyIDs) apply(data []byte) error {
	var set struct {
		Keys []struct {
			Kid string `json:"kid"`
		} `json:"keys"`
	}
	if err := json.Unmarshal(data, &set); err != nil {
		return err
	}
	var kids []string
	for _, key := range set.Keys {
		kids = append(kids, key.Kid)
	}
	slices.Sort(kids)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sets = append(k.sets, kids)
	return nil
}

func (k *keyIDs) last() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.sets) == 0 {
		return nil
	}
	return k.sets[len(k.sets)-1]
}

// generation returns the kids of the given generations of a provider's keys.
func generation(generations ...int) (kids []string) {
	for _, g := range generations {
		for _, alg := range sourcetest.Algorithms() {
			kids = append(kids, sourcetest.KeyID(alg, g))
		}
	}
	slices.Sort(kids)
	return kids
}

// The keys of a real provider are found, a rotation is noticed within two reads, and the previous
// set stays active while the provider is down.
func TestProvider(t *testing.T) {
	provider := sourcetest.Start(t, nil)
	var discovered, direct keyIDs
	var log lines
	byDiscovery := source.Discovery(provider.Issuer, discovered.apply)
	byURL := source.URL(provider.Issuer+"/jwks", direct.apply)
	// The test does not poll: it requests every read.
	open(t, source.Options{PollInterval: time.Hour, MinRefresh: time.Millisecond, Log: log.logger()}, byDiscovery, byURL)
	looks := func(n int) {
		for range n {
			<-byDiscovery.Refresh()
			<-byURL.Refresh()
		}
	}
	has := func(want []string) {
		t.Helper()
		for _, kids := range []*keyIDs{&discovered, &direct} {
			if got := kids.last(); !slices.Equal(got, want) {
				t.Errorf("keys %q, want %q", got, want)
			}
		}
	}
	has(generation(1))
	for _, step := range [][]int{{2, 1}, {2}} {
		provider.Restart(step...)
		looks(2)
		has(generation(step...))
	}
	provider.Stop()
	looks(3)
	has(generation(2))
	if !log.has("connection refused") {
		t.Errorf("not reported: %q", log.all)
	}
	provider.Restart(3)
	looks(2)
	has(generation(3))
}

// A rotation is also noticed by polling.
func TestProviderIsPolled(t *testing.T) {
	provider := sourcetest.Start(t, nil)
	var kids keyIDs
	open(t, source.Options{PollInterval: 50 * time.Millisecond}, source.Discovery(provider.Issuer, kids.apply))
	provider.Restart(2)
	for range 1000 {
		if slices.Equal(kids.last(), generation(2)) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("keys %q, want %q", kids.last(), generation(2))
}

// The test provider issues JWT access tokens of each algorithm, signed with its first generation of
// keys.
func TestProviderTokens(t *testing.T) {
	provider := sourcetest.Start(t, map[string]any{"roles": []string{"api"}})
	for _, generations := range [][]int{{1, 2}, {2, 1}} {
		provider.Restart(generations...)
		for _, alg := range sourcetest.Algorithms() {
			text, err := provider.Token(t.Context(), alg)
			if err != nil {
				t.Fatal(err)
			}
			var claims struct {
				jwt.RegisteredClaims
				Roles []string `json:"roles"`
			}
			token, _, err := jwt.NewParser().ParseUnverified(text, &claims)
			if err != nil {
				t.Fatal(err)
			}
			if token.Header["alg"] != alg || token.Header["typ"] != "at+jwt" || token.Header["kid"] != sourcetest.KeyID(alg, generations[0]) {
				t.Errorf("generations %v, %s: header %v", generations, alg, token.Header)
			}
			if claims.Issuer != provider.Issuer || claims.Subject != sourcetest.Client || !slices.Equal(claims.Audience, []string{sourcetest.Audience}) ||
				claims.ExpiresAt == nil || claims.IssuedAt == nil || strings.Join(claims.Roles, ",") != "api" {
				t.Errorf("%s: claims %+v", alg, claims)
			}
		}
	}
	if _, err := provider.Token(t.Context(), "none"); err == nil {
		t.Error("a token without a signature")
	}
}
