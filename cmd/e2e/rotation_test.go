package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/source/sourcetest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// traffic sends 200 requests per second with good tokens and counts the answers.
type traffic struct {
	asked, putOff, refused atomic.Int64

	mu     sync.RWMutex // held while one is under way
	tokens []string
}

// set replaces the tokens, and returns when no request with another one is in flight.
func (f *traffic) set(lists ...[]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens = slices.Concat(lists...)
}

func (f *traffic) send(t *testing.T, p *program, i int) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	got, err := p.try(f.tokens[i%len(f.tokens)], "POST", "/api/query", strings.NewReader("{}"))
	f.asked.Add(1)
	switch {
	case err != nil:
		t.Error(err)
	case got.status == http.StatusServiceUnavailable:
		f.putOff.Add(1)
	case got.status != http.StatusOK:
		f.refused.Add(1)
		t.Errorf("a good token: %d %s", got.status, got.body)
	}
}

func (f *traffic) run(t *testing.T, p *program, stop <-chan struct{}) {
	const senders = 4
	var all sync.WaitGroup
	for n := range senders {
		all.Go(func() {
			tick := time.NewTicker(senders * time.Second / 200)
			defer tick.Stop()
			for i := n; ; i++ {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				f.send(t, p, i)
			}
		})
	}
	all.Wait()
}

// TestRotation: a real provider rotates its keys under 200 requests per second. No good token is
// refused. Tokens of a withdrawn key are refused soon, and stay refused. Times are logged.
func TestRotation(t *testing.T) {
	t.Parallel() // with what else only waits
	provider := sourcetest.Start(t, map[string]any{"roles": []string{"api"}})
	const interval = time.Second
	s := newSettings(t)
	s["auth"] = jsonObject{"poll-interval": interval.String(), "issuers": []jsonObject{{
		"name": "op", "issuer": provider.Issuer, "discovery": true, "audience": []string{sourcetest.Audience}, "roles-claims": []string{"roles"},
	}}}
	p := serve(t, s)
	mint := func() (tokens []string) {
		for _, alg := range sourcetest.Algorithms() {
			token, err := provider.Token(t.Context(), alg)
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, token)
		}
		return tokens
	}
	all := func(tokens []string, status int) bool {
		for _, token := range tokens {
			if got := p.status(t, token); got != status {
				return false
			}
		}
		return true
	}
	var load traffic
	now := mint()
	load.set(now)
	stop := make(chan struct{})
	var running sync.WaitGroup
	defer running.Wait()
	defer close(stop)
	running.Go(func() { load.run(t, p, stop) })
	time.Sleep(interval)

	withdraw := func(g int, before, after []string) {
		t.Helper()
		load.set(after)
		provider.Restart(g)
		begin := time.Now()
		var last time.Time // that one of them was accepted
		cmdtest.Eventually(t, "the end of the withdrawn keys", func() bool {
			refused := true
			for _, token := range before {
				if p.status(t, token) == http.StatusOK {
					last, refused = time.Now(), false
				}
			}
			return refused
		})
		cmdtest.Eventually(t, "their refusal", func() bool { return all(before, http.StatusUnauthorized) })
		t.Logf("generation %d withdrawn: its last token was accepted %v after, the poll interval being %v", g-1, max(0, last.Sub(begin)), interval)
	}

	// A hard rotation: the new key signs before anyone could have read it.
	provider.Restart(2, 1)
	second := mint()
	load.set(now, second)
	cmdtest.Eventually(t, "tokens of a key that is new", func() bool { return all(second, http.StatusOK) })
	withdraw(2, now, second)

	// A proper rotation: the new key is published first.
	const sourceRead = `msg="source read"`
	looks := strings.Count(p.stderr.String(), sourceRead)
	provider.Restart(2, 3)
	p.saysTimes(t, looks+1, sourceRead)
	provider.Restart(3, 2)
	third := mint()
	load.set(second, third)
	time.Sleep(interval)
	withdraw(3, second, third)
	for range 20 {
		for _, gone := range [][]string{now, second} {
			for _, token := range gone {
				if got := p.status(t, token); got == http.StatusOK {
					t.Fatal("a withdrawn key is accepted again")
				}
			}
		}
		time.Sleep(interval / 20)
	}
	t.Logf("%d requests with good tokens, %d answered 503, %d refused", load.asked.Load(), load.putOff.Load(), load.refused.Load())
}
