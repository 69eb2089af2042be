package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// countingVerifier counts the verifications that the cache asks for.
type countingVerifier struct {
	verifier
	calls atomic.Int64
}

func (c *countingVerifier) authenticate(ctx context.Context, token string, known bool, at time.Time) (*Principal, error) {
	c.calls.Add(1)
	return c.verifier.authenticate(ctx, token, known, at)
}

func TestCachedVerdictsExpire(t *testing.T) {
	key := newKey("cc-backend")
	const plain = `{"sub":"alice"}`

	// Each step sets the clock to noon plus at seconds and authenticates the token. behind says
	// whether the verifier is called.
	type step struct {
		at     int64
		behind bool
		want   Reason
	}
	f := func(name, claims string, steps ...step) {
		t.Helper()
		clock := newClock()
		verifier := &countingVerifier{verifier: newIssuer(t, trust{now: clock.now}, key)}
		cache := newCache(verifier, clock.now)
		token := sign(key, goodHeader, claims)
		for i, s := range steps {
			clock.set(noon + s.at)
			before := verifier.calls.Load()
			p, err := cache.Authenticate(t.Context(), token)
			if code(err) != s.want || (p == nil) != (err != nil) || err == nil && p.Subject != "alice" {
				t.Errorf("%s, step %d: %v, %v; want %q", name, i, p, err, s.want)
			}
			if behind := verifier.calls.Load() > before; behind != s.behind {
				t.Errorf("%s, step %d: verified %t, want %t", name, i, behind, s.behind)
			}
		}
	}
	f("a minute, however often it is used", plain,
		step{0, true, ""}, step{0, false, ""}, step{30, false, ""}, step{59, false, ""}, step{60, true, ""}, step{119, false, ""}, step{120, true, ""})
	f("exp comes first; the leeway is not cached", `{"sub":"alice","exp":1800000010}`,
		step{0, true, ""}, step{9, false, ""}, step{10, true, ""}, step{11, true, ""}, step{39, true, ""}, step{40, true, Expired}, step{41, true, Expired})
	f("refusals are not remembered", `{"sub":"alice","nbf":1800000035}`,
		step{0, true, NotYetValid}, step{4, true, NotYetValid}, step{5, true, ""}, step{6, false, ""})
	f("a clock set back before nbf", `{"sub":"alice","nbf":1800000000}`,
		step{0, true, ""}, step{-31, true, NotYetValid}, step{1, false, ""})
	f("a clock set back, and on", plain,
		step{0, true, ""}, step{-1, true, ""}, step{-1, false, ""}, step{58, false, ""}, step{59, true, ""})
	f("bad claims", `{"sub":""}`, step{0, true, BadClaims}, step{0, true, BadClaims})
	f("exp in the year 9999", `{"sub":"alice","exp":253402300799}`, step{0, true, ""}, step{59, false, ""}, step{60, true, ""})
}

// Similar tokens do not share a verdict.
func TestCacheDistinguishesTokens(t *testing.T) {
	key := newKey("cc-backend")
	cache := NewCache(newIssuer(t, trust{}, key), newClock().now)
	good := sign(key, goodHeader, goodClaims)
	if _, err := cache.Authenticate(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", good + " ", good + "=", " " + good, good[:len(good)-1], strings.ToLower(good), good + "\x00",
		sign(newKey("wrong"), goodHeader, goodClaims), strings.Repeat(good, 100),
	} {
		if p, err := cache.Authenticate(t.Context(), bad); err == nil {
			t.Errorf("%.40q...: accepted as %v", bad, p)
		}
	}
}

func TestCacheIsBounded(t *testing.T) {
	clock := newClock()
	key := newKey("cc-backend")
	verifier := &countingVerifier{verifier: newIssuer(t, trust{now: clock.now}, key)}
	cache := newCache(verifier, clock.now)
	token := func(i int) string { return sign(key, goodHeader, fmt.Sprintf(`{"sub":"s%d","exp":1800000600}`, i)) }
	show := func(token string) {
		t.Helper()
		if _, err := cache.Authenticate(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		if n := len(cache.young) + len(cache.old); n > cacheSize {
			t.Fatalf("%d verdicts", n)
		}
	}
	const tokens = cacheSize + cacheSize/4
	first := token(0)
	for i := range tokens {
		show(token(i))
		show(first) // in constant use, so it stays
	}
	if n := verifier.calls.Load(); n != tokens {
		t.Errorf("%d verifications of %d tokens", n, tokens)
	}
	// After two minutes, the next token clears all of these.
	clock.advance(cacheAge)
	show(first)
	clock.advance(cacheAge)
	show(first)
	if n := len(cache.young) + len(cache.old); n > 2 {
		t.Errorf("%d verdicts after two minutes", n)
	}
}

func TestCacheRefusesFloodsWithoutKeepingThem(t *testing.T) {
	cache := NewCache(newIssuer(t, trust{}, newKey("cc-backend")), newClock().now)
	wrong := newKey("wrong")
	for i := range 100 {
		_, err := cache.Authenticate(t.Context(), sign(wrong, goodHeader, fmt.Sprintf(`{"sub":"s%d"}`, i)))
		if code(err) != BadSignature {
			t.Fatal(err)
		}
	}
	if n := len(cache.young) + len(cache.old); n != 0 {
		t.Errorf("%d verdicts kept", n)
	}
}

func TestCacheUnderConcurrentUse(t *testing.T) {
	clock := newClock()
	key := newKey("cc-backend")
	cache := NewCache(newIssuer(t, trust{now: clock.now}, key), clock.now)
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = sign(key, goodHeader, fmt.Sprintf(`{"sub":"s%d"}`, i))
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 400 {
				n := (i + g) % len(tokens)
				p, err := cache.Authenticate(t.Context(), tokens[n])
				if err != nil || p.Subject != fmt.Sprint("s", n) {
					t.Error(p, err)
				}
				clock.advance(time.Second)
			}
		})
	}
	wg.Wait()
}

// scriptedVerifier answers with what the test sends on answers, nil to accept.
type scriptedVerifier struct {
	calls   atomic.Int64
	answers chan error
}

func (*scriptedVerifier) Generation() uint64 { return 0 }

func (v *scriptedVerifier) authenticate(ctx context.Context, _ string, _ bool, _ time.Time) (*Principal, error) {
	v.calls.Add(1)
	select {
	case err := <-v.answers:
		if err != nil {
			return nil, err
		}
		return &Principal{Subject: "a"}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Concurrent requests with one token share a verification. One that is cancelled does not affect
// the others.
func TestCacheSharesVerifications(t *testing.T) {
	f := func(name string, answer error, want Reason) {
		t.Helper()
		verifier := &scriptedVerifier{answers: make(chan error)}
		cache := newCache(verifier, newClock().now)
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := cache.Authenticate(ctx, "token"); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the cancelled request: %v", name, err)
			}
		})
		for verifier.calls.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		for range 50 {
			wg.Go(func() {
				if p, err := cache.Authenticate(t.Context(), "token"); code(err) != want || (err == nil) != (p != nil) {
					t.Errorf("%s: %v, %v, want %q", name, p, err, want)
				}
			})
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := cache.Authenticate(gone, "token"); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: a request that was cancelled before: %v", name, err)
		}
		time.Sleep(5 * time.Millisecond) // for some of them to start waiting
		if n := verifier.calls.Load(); n != 1 {
			t.Errorf("%s: %d verifications at a time", name, n)
		}
		leave()
		go func() { // repeatedly: late requests verify again
			for {
				select {
				case verifier.answers <- answer:
				case <-t.Context().Done():
					return
				}
			}
		}()
		wg.Wait()
		if n := len(cache.inFlight.calls); n != 0 {
			t.Errorf("%s: %d verifications are under way", name, n)
		}
	}
	f("good", nil, "")
	f("bad", refuse(Expired, ""), Expired)
	f("busy", &Overloaded{Busy, retryAfter}, Busy)
}

// A panic in a verification stays with the caller that makes it; a waiter verifies again.
func TestSingleflightContainsPanics(t *testing.T) {
	var s singleflight
	entered, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not reach its caller")
			}
		}()
		_, _ = s.do(t.Context(), flightKey{}, func() (*Principal, error) {
			close(entered)
			<-release
			panic("test")
		})
	})
	<-entered
	wg.Go(func() {
		p, err := s.do(t.Context(), flightKey{}, func() (*Principal, error) { return &Principal{Subject: "a"}, nil })
		if err != nil || p.Subject != "a" {
			t.Errorf("waiter: %v, %v", p, err)
		}
	})
	time.Sleep(5 * time.Millisecond) // for it to wait
	close(release)
	wg.Wait()
}

func BenchmarkCacheHit(b *testing.B) {
	key := newKey("cc-backend")
	cache := NewCache(newIssuer(b, trust{}, key), nil)
	token := sign(key, goodHeader, goodClaims)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cache.Authenticate(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key := newKey("cc-backend")
	issuer := newIssuer(b, trust{}, key)
	f := func(name, token string) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, _ = issuer.Authenticate(b.Context(), token)
			}
		})
	}
	f("good", sign(key, goodHeader, goodClaims))
	f("forged", sign(newKey("wrong"), goodHeader, goodClaims))
	f("expired", sign(key, goodHeader, `{"sub":"alice","exp":1}`))
	f("16KiB", strings.Repeat("A", maxToken))
	// Bad tokens that are expensive to decode.
	expensive := func(item string, n int) string {
		return `{"alg":"EdDSA","x":[` + item + strings.Repeat(","+item, n) + `]}`
	}
	for _, item := range []string{`1e-323`, `"\u00e9\u00e9"`, `{}`, `{"\"":0}`} {
		n := min(maxToken/2*3/4/(len(item)+1)-8, maxValues/2-8)
		f(item, b64(expensive(item, n))+"."+b64(expensive(item, n))+".AA")
	}
}
