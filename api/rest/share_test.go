package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

// ask sends a query for one host on behalf of somebody and returns the status.
func (d *deployment) ask(t *testing.T, ctx context.Context, subject, role, host string) (status int, retry string) {
	t.Helper()
	body := fmt.Sprintf(`{"cluster": "c", "from": 0, "to": 1, "queries": [{"metric": "cpu_load", "host": %q}]}`, host)
	req, err := http.NewRequestWithContext(ctx, "POST", d.URL+"/api/query", strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	req.Header.Set("Authorization", "Bearer "+d.issuer.Token(map[string]any{"sub": subject, "roles": []string{role}, "exp": now + 3600}))
	resp, err := d.Client().Do(req)
	if err != nil {
		return 0, ""
	}
	resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// A principal has its number of queries that run at once, of all its connections together. Others
// have theirs.
func TestQueriesPerPrincipal(t *testing.T) {
	var blocked atomic.Int32
	release := make(chan struct{})
	d := open(t, func(o *rest.Options) {
		o.Policy = auth.Policy{UsersReadAll: true}
		o.Limits = rest.Limits{QueriesPerUser: 2, QueriesPerService: 3}
		o.Store = blockedStore{hooked{Store: o.Store.(*memstore.Store)}, &blocked, release}
	})
	d.skipContract()
	h := d.Config.Handler.(*rest.Handler)
	const waiting = 4
	for i, who := range []struct {
		role  string
		limit int
	}{{"user", 2}, {"admin", 3}} {
		subject := fmt.Sprint("subject", i)
		before := blocked.Load()
		var all sync.WaitGroup
		var ok atomic.Int32
		for range who.limit {
			all.Go(func() {
				if status, _ := d.ask(t, t.Context(), subject, who.role, "slow"); status == http.StatusOK {
					ok.Add(1)
				}
			})
		}
		eventually(t, "as many run as may", func() bool { return blocked.Load() == before+int32(who.limit) })
		ctx, cancel := context.WithCancel(t.Context())
		for range waiting {
			all.Go(func() { d.ask(t, ctx, subject, who.role, "slow") })
		}
		eventually(t, "some wait", func() bool { return h.Queries("jwt-public-key", subject) == who.limit+waiting })
		if who.role == "user" {
			if status, retry := d.ask(t, t.Context(), subject, who.role, "fast"); status != http.StatusServiceUnavailable || retry != "1" {
				t.Errorf("one more of a %s: %d, Retry-After %q", who.role, status, retry)
			}
		}
		if status, _ := d.ask(t, t.Context(), "somebody else", who.role, "fast"); status != http.StatusOK {
			t.Errorf("somebody else: %d", status)
		}
		if n := blocked.Load(); n != before+int32(who.limit) {
			t.Errorf("%d of a %s run at once", n-before, who.role)
		}
		cancel() // those that wait
		eventually(t, "those that left do not wait", func() bool { return h.Queries("jwt-public-key", subject) == who.limit })
		for range who.limit {
			release <- struct{}{}
		}
		all.Wait()
		if n := ok.Load(); n != int32(who.limit) {
			t.Errorf("%d of %d were answered", n, who.limit)
		}
		eventually(t, "nothing is kept", func() bool { return h.Queries("jwt-public-key", subject) == 0 })
	}
}

// blockedStore blocks reads of the host "slow".
type blockedStore struct {
	hooked
	blocked *atomic.Int32
	release chan struct{}
}

func (b blockedStore) Read(_ context.Context, sel memstore.Selection, _ memstore.Range) (memstore.Data, error) {
	if sel.Host == "slow" {
		b.blocked.Add(1)
		<-b.release
	}
	return memstore.Data{}, memstore.ErrNotFound
}
