package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// flood is bad tokens, of which a fifth are forgeries that are well shaped; or
// requests that need none, to see what tokens cost beside HTTP itself.
type flood struct {
	tokens                []string
	path                  string
	sent, refused, putOff atomic.Int64
}

func newFlood(c *centre) *flood {
	when := time.Now()
	user := authtest.KeycloakUser(when, realm, "jupyter", "alice", "hpc-admin")
	good := c.keycloak.Token(user)
	bad := []string{
		"garbage", good[:len(good)/2], c.keycloak.Token(with(user, map[string]any{"exp": 1})), c.keycloak.Named("x").Token(user),
	}
	f := &flood{path: "/api/query"}
	for i := range 64 {
		forged := mallory().Named("kc-1").Token(authtest.KeycloakUser(when, realm, "jupyter", fmt.Sprint("m", i), "hpc-admin"))
		f.tokens = append(append(f.tokens, forged), bad...)
	}
	return f
}

// run sends them over some connections, at a rate a second in all.
func (f *flood) run(t *testing.T, p *program, rate int, stop <-chan struct{}) {
	const connections = 8
	var all sync.WaitGroup
	for n := range connections {
		all.Go(func() {
			client := newClient(t, nil)
			defer client.CloseIdleConnections()
			own := &program{url: p.url, client: client}
			begin := time.Now()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Until(begin.Add(time.Duration(i) * connections * time.Second / time.Duration(rate)))):
				}
				at := (n*len(f.tokens)/connections + i) % len(f.tokens)
				got, err := own.try(f.tokens[at], "GET", f.path, strings.NewReader("{}"))
				f.sent.Add(1)
				switch {
				case err != nil:
					t.Error(err)
				case f.tokens[at] == "" && got.status == http.StatusOK:
				case got.status == http.StatusUnauthorized:
					f.refused.Add(1)
				case got.status == http.StatusServiceUnavailable && got.header.Get("Retry-After") != "":
					f.putOff.Add(1)
				default:
					t.Errorf("a bad token: %d %s", got.status, got.body)
				}
			}
		})
	}
	all.Wait()
}

// TestFlood: under a flood of bad tokens no bad one is let in, every good one
// that is remembered is, and memory does not grow with the flood. How many came
// and what they cost the good ones is logged.
func TestFlood(t *testing.T) {
	c := newCentre(t)
	p := process(t, c.settings)
	good := c.keycloak.Token(authtest.KeycloakUser(time.Now(), realm, "jupyter", "root", "hpc-admin"))
	heap := func() float64 {
		got := p.send(t, good, "GET", "/metrics", "").body
		for _, m := range sampleLine.FindAllStringSubmatch(got, -1) {
			if m[1] == "go_memstats_alloc_bytes" {
				var v float64
				fmt.Sscan(m[2], &v)
				return v
			}
		}
		t.Fatal("no go_memstats_alloc_bytes")
		return 0
	}
	measure := func(d time.Duration) (p99 time.Duration) {
		t.Helper()
		var took []time.Duration
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
			begin := time.Now()
			if got := p.status(t, good); got != http.StatusOK {
				t.Errorf("a good token: %d", got)
			}
			took = append(took, time.Since(begin))
		}
		slices.Sort(took)
		return took[len(took)*99/100]
	}
	during := func(f *flood) (p99 time.Duration, rate float64) {
		t.Helper()
		stop := make(chan struct{})
		var running sync.WaitGroup
		begin := time.Now()
		running.Go(func() { f.run(t, p, 10_000, stop) })
		p99 = measure(2 * time.Second)
		close(stop)
		running.Wait()
		return p99, float64(f.sent.Load()) / time.Since(begin).Seconds()
	}
	measure(200 * time.Millisecond)
	calm, before := measure(time.Second), heap()
	open := &flood{path: "/-/healthy", tokens: make([]string, 8)}
	probes, probeRate := during(open)
	f := newFlood(c)
	storm, rate := during(f)
	after := heap()
	t.Logf("%.0f bad tokens a second: %d refused, %d put off; p99 of a good request %v, with %.0f requests a second without tokens %v, alone %v; heap %.1f MB, before %.1f MB",
		rate, f.refused.Load(), f.putOff.Load(), storm, probeRate, probes, calm, after/1e6, before/1e6)
	if f.refused.Load() == 0 {
		t.Error("nothing was refused")
	}
	if after > before+64<<20 {
		t.Errorf("the heap grew from %.0f to %.0f bytes", before, after)
	}
	if lines := strings.Count(p.stderr.String(), "\n"); lines > 5_000 {
		t.Errorf("%d lines of log", lines)
	}
}
