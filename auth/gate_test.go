package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/auth/jwk"
)

// fill occupies all slots until the returned function is called.
func fill(t *testing.T, g *gate) (empty func()) {
	t.Helper()
	slots := g.free
	for range slots {
		if err := g.enter(t.Context(), "", true); err != nil {
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
	c.chain.gate.maxWait = 50 * time.Millisecond
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
	if g.unknown.len()+len(g.known) != 0 || g.free != runtime.GOMAXPROCS(0) {
		t.Errorf("%+v", g)
	}
}

// queuedUp enters tokens into the gate one after the other. All of its slots are taken.
type queuedUp struct {
	t    *testing.T
	gate *gate
	all  sync.WaitGroup

	mu    sync.Mutex
	order []string // of the tokens that got a slot, or their errors
}

func (q *queuedUp) waiting() int {
	q.gate.mu.Lock()
	defer q.gate.mu.Unlock()
	return q.gate.unknown.len() + len(q.gate.known)
}

// add enters a token and waits until it waits, or displaces another one.
func (q *queuedUp) add(name, issuer string, peer byte, known bool) {
	q.t.Helper()
	before, done := q.waiting(), make(chan struct{})
	ctx := WithPeer(context.WithoutCancel(q.t.Context()), netip.AddrFrom4([4]byte{10, 0, 0, peer}))
	q.all.Go(func() {
		defer close(done)
		err := q.gate.enter(ctx, issuer, known)
		q.mu.Lock()
		if err != nil {
			name += " " + string(code(err))
		}
		q.order = append(q.order, name)
		q.mu.Unlock()
		if err == nil {
			q.gate.leave()
		}
	})
	for q.waiting() == before {
		select {
		case <-done:
			return
		case <-time.After(time.Millisecond):
			if q.waiting() == before && q.gate.unknown.maxLen == before {
				return // it displaced another one
			}
		}
	}
}

// Tokens that were good a moment ago are served first, in their order, and a token that gives up
// does not use a slot. The others are served by issuer and peer in turn.
func TestQueueOrder(t *testing.T) {
	g := newGate(1)
	g.maxWait = time.Minute
	empty := fill(t, g)
	q := &queuedUp{t: t, gate: g}
	for i := range 4 {
		q.add(fmt.Sprint("a1-", i), "a", 1, false)
	}
	q.add("a2-0", "a", 2, false)
	q.add("a2-1", "a", 2, false)
	q.add("b1-0", "b", 1, false)
	q.add("good 1", "a", 1, true)
	q.add("b3-0", "b", 3, false)
	q.add("good 2", "a", 1, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, known := range []bool{false, true} {
		if err := g.enter(ctx, "a", known); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	empty()
	q.all.Wait()
	want := "good 1, good 2, a1-0, b1-0, a2-0, b3-0, a1-1, a2-1, a1-2, a1-3"
	if got := strings.Join(q.order, ", "); got != want || g.free != 1 {
		t.Errorf("%s; %d free", got, g.free)
	}
}

// An issuer's full queue refuses tokens of the peer that filled it, and displaces one of them for
// another peer. Other issuers have their own.
func TestFullQueue(t *testing.T) {
	g := newGate(1)
	g.maxWait = time.Hour
	empty := fill(t, g)
	q := &queuedUp{t: t, gate: g}
	for range g.unknown.maxLen {
		q.add("flood", "a", 1, false)
	}
	q.add("late", "a", 1, false)
	q.add("other peer", "a", 2, false)
	q.add("other issuer", "b", 1, false)
	empty()
	q.all.Wait()
	got := strings.Join(q.order, ", ")
	if !strings.Contains(got, "other peer") || strings.Contains(got, "other peer busy") || strings.Contains(got, "other issuer busy") ||
		!strings.Contains(got, "late busy") || strings.Count(got, "flood busy") != 1 || g.free != 1 {
		t.Errorf("%s; %d free", got, g.free)
	}
}

// While expensive forgeries of two issuers keep every slot that they may use busy, and more wait
// than their queues hold, each new good token of a third issuer is accepted.
func TestForgeriesDoNotRefuseNewTokensOfOtherIssuers(t *testing.T) {
	good := authtest.NewSigner("EdDSA", "")
	es, rs := authtest.NewSigner("ES512", ""), authtest.NewSigner("RS256", "")
	chain := newChain(t, ChainConfig{Parallel: 2, Issuers: []Issuer{
		{Name: "op", Issuer: "op", Keys: trusted(good)},
		{Name: "es", Issuer: "es", Algorithms: []string{"ES512"}, Keys: []jwk.Key{{Public: es.Public()}}},
		{Name: "rs", Issuer: "rs", Keys: []jwk.Key{{Public: rs.Public()}}},
	}})
	forged := func(s *authtest.Signer, iss string, n int) string {
		token := s.Token(map[string]any{"iss": iss, "sub": fmt.Sprint(n), "exp": noon + 600})
		at := strings.LastIndexByte(token, '.') + 10
		return token[:at] + "AAAA" + token[at+4:]
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for g := range 160 {
		signer, iss := es, "es"
		if g%2 == 0 {
			signer, iss = rs, "rs"
		}
		token := forged(signer, iss, g)
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := chain.Authenticate(ctx, token); err == nil {
					t.Error("a forgery is accepted")
				}
				time.Sleep(5 * time.Millisecond) // as long as a request over the network takes
			}
		})
	}
	for i := range 50 {
		token := good.Token(with(opClaims, map[string]any{"sub": fmt.Sprint(i)}))
		if _, err := chain.Authenticate(t.Context(), token); err != nil {
			t.Errorf("good token %d: %v", i, err)
		}
	}
	stop()
	all.Wait()
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
