package auth

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// fill occupies all slots until the returned function is called.
func fill(t *testing.T, g *gate) (empty func()) {
	t.Helper()
	slots := g.free
	for range slots {
		if err := g.enter(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for range slots {
			g.leave()
		}
	}
}

// While every core is busy, tokens that need no signature check are answered, and the others get
// Busy.
func TestOverload(t *testing.T) {
	c := newCentre(t)
	now := c.clock.now()
	cache := NewCache(c.chain, c.clock.now)
	cached, fresh := c.cc.Token(authtest.CCBackend(now, "alice", "user")), c.cc.Token(authtest.CCBackend(now, "bob", "user"))
	if _, err := cache.Authenticate(t.Context(), cached); err != nil {
		t.Fatal(err)
	}
	empty := fill(t, c.chain.gate)
	f := func(name, token string, want Reason) {
		t.Helper()
		if _, err := cache.Authenticate(t.Context(), token); code(err) != want {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	f("cached", cached, "")
	f("not cached", fresh, Busy)
	f("a forgery", fresh[:len(fresh)-4]+"AAAA", Busy)
	f("no token", "garbage", Malformed)
	f("expired", c.cc.Token(with(authtest.CCBackend(now, "bob"), map[string]any{"exp": 1})), Expired)
	f("unknown issuer", c.cc.Token(map[string]any{"iss": "x", "sub": "a"}), UnknownIssuer)
	f("unknown key", c.keycloak.Named("x").Token(authtest.KeycloakUser(now, realm, "jupyter", "alice")), UnknownKey)
	f("wrong audience", c.keycloak.Token(with(authtest.KeycloakUser(now, realm, "jupyter", "alice"), map[string]any{"aud": "x"})), WrongAudience)
	if err := c.chain.SetRevocations(must(ParseRevocations([]byte(`{"subjects":[{"issuer":"cc-backend","sub":"bob"}]}`)))); err != nil {
		t.Fatal(err)
	}
	f("revoked", fresh, Revoked)

	_, err := c.chain.Authenticate(t.Context(), cached)
	if o, ok := errors.AsType[*Overloaded](err); !ok || o.RetryAfter <= 0 || o.Public() == "" {
		t.Errorf("%#v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.chain.Authenticate(ctx, cached); !errors.Is(err, context.Canceled) {
		t.Errorf("whose client went away: %v", err)
	}
	empty()
	if _, err := c.chain.Authenticate(t.Context(), cached); err != nil {
		t.Error(err)
	}
	g := c.chain.gate
	if len(g.unknown.waiting)+len(g.known.waiting) != 0 || g.free != runtime.GOMAXPROCS(0) {
		t.Errorf("%+v", g)
	}
}

// Tokens that were good a moment ago are served first, and a token that gives up does not use a
// slot.
func TestQueueOrder(t *testing.T) {
	g := newGate(1)
	empty := fill(t, g)
	var order []string
	var wg sync.WaitGroup
	wait := func(name string, known bool, q *queue) {
		n := len(q.waiting)
		wg.Go(func() {
			if err := g.enter(context.WithoutCancel(t.Context()), known); err != nil {
				order = append(order, name+" "+string(code(err)))
				return
			}
			order = append(order, name)
			g.leave()
		})
		for {
			g.mu.Lock()
			waits := len(q.waiting) > n
			g.mu.Unlock()
			if waits {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	g.unknown.maxWait, g.known.maxWait = time.Minute, time.Minute
	wait("1", false, &g.unknown)
	wait("2", false, &g.unknown)
	wait("good 1", true, &g.known)
	wait("good 2", true, &g.known)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.enter(ctx, true); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	empty()
	wg.Wait()
	if got := strings.Join(order, ", "); got != "good 1, good 2, 1, 2" || g.free != 1 {
		t.Errorf("%s; %d free", got, g.free)
	}

	defer wg.Wait()
	defer fill(t, g)()
	g.unknown.maxWait = time.Hour
	for range g.unknown.maxLen {
		wait("late", false, &g.unknown)
	}
	if err := g.enter(t.Context(), false); code(err) != Busy {
		t.Errorf("full queue: %v", err)
	}
}

// While many forgeries wait, a token that was good a moment ago is still verified again.
func TestForgeriesDoNotStarveGoodTokens(t *testing.T) {
	key, forger := authtest.NewSigner("EdDSA", ""), authtest.NewSigner("EdDSA", "")
	chain := newChain(t, ChainConfig{Parallel: 1, Issuers: []Issuer{{Name: "op", Issuer: "op", Keys: trusted(key)}}})
	cache := NewCache(chain, newClock().now)
	good := key.Token(opClaims)
	if _, err := cache.Authenticate(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	forgeries := make([]string, 64)
	for i := range forgeries {
		forgeries[i] = forger.Token(with(opClaims, map[string]any{"sub": fmt.Sprint(i)}))
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for i := g; ctx.Err() == nil; i++ {
				if _, err := cache.Authenticate(ctx, forgeries[i%len(forgeries)]); err == nil {
					t.Error("a forgery is accepted")
				}
			}
		})
	}
	for range 50 {
		if err := chain.SetRevocations(nil); err != nil { // which invalidates the verdict
			t.Error(err)
		}
		if _, err := cache.Authenticate(t.Context(), good); err != nil {
			t.Errorf("the good token: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	stop()
	wg.Wait()
	if n := len(cache.young) + len(cache.old); n != 1 {
		t.Errorf("%d verdicts", n)
	}
}
