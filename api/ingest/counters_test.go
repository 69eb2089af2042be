package ingest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringstore/ringstore/memstore"
)

// Batches are counted by transport, and rejected lines by reason. The other transport's counters
// are exported too, as 0.
func TestCounters(t *testing.T) {
	g, _ := newIngester(t, nil, "load")
	registry := prometheus.NewPedanticRegistry()
	g.counters = newCounters(registry)
	batch := strings.Join([]string{
		"load,cluster=a,hostname=n1 value=1 1795308600",
		"# a comment",
		"load,cluster=a,hostname=n1 value=x 1795308600",
		"load,hostname=n1 value=1 1795308600",
		"load,cluster=a,hostname=.. value=1 1795308600",
		"load,cluster=b,hostname=n1 value=1 1795308600",
		"load,cluster=a,hostname=n1 value=1 1",
		"load,cluster=a,hostname=n1 value=1 1795309999",
		"nope,cluster=a,hostname=n1 value=1 1795308600",
	}, "\n")
	src := Source{Transport: "http", May: func(cluster string) bool { return cluster != "b" }}
	if _, err := g.Batch(t.Context(), src, []byte(batch)); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Stream(t.Context(), src, strings.NewReader("load,cluster=a,hostname=n1 value=2 1795308540\n")); err != nil {
		t.Fatal(err)
	}
	f := func(want float64, v *prometheus.CounterVec, labels ...string) {
		t.Helper()
		if got := testutil.ToFloat64(v.WithLabelValues(append([]string{"http"}, labels...)...)); got != want {
			t.Errorf("%v: %v, want %v", labels, got, want)
		}
		if got := testutil.ToFloat64(v.WithLabelValues(append([]string{"nats"}, labels...)...)); got != 0 {
			t.Errorf("nats, %v: %v", labels, got)
		}
	}
	c := g.counters
	f(2, c.batches)
	f(10, c.lines)
	f(float64(len(batch)+len("load,cluster=a,hostname=n1 value=2 1795308540\n")), c.bytes)
	f(2, c.samples)
	f(1, c.unknown)
	f(0, c.duplicates)
	f(2, c.rejected, "malformed")
	f(1, c.rejected, "bad_name")
	f(1, c.rejected, "other_cluster")
	f(1, c.rejected, "too_old")
	f(1, c.rejected, "future")
	f(0, c.rejected, "evicted")
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Every refusal of the store and every error of a key has its own label.
func TestCauses(t *testing.T) {
	f := func(r memstore.RefusalReason, want string) {
		t.Helper()
		if got := causeNames[causeOf(r)]; got != want {
			t.Errorf("%s: %s, want %s", r, got, want)
		}
	}
	f(memstore.RefusedFuture, "future")
	f(memstore.RefusedOld, "too_old")
	f(memstore.RefusedValue, "not_a_number")
	f(memstore.RefusedLimit, "limit")
	f(memstore.RefusedEvicted, "evicted")
	f(memstore.RefusedUnreadable, "unreadable")
	e := func(err error, want string) {
		t.Helper()
		if got := causeNames[causeOfError(err)]; got != want {
			t.Errorf("%s: %s, want %s", err, got, want)
		}
	}
	e(fmt.Errorf("%w: host", memstore.ErrName), "bad_name")
	e(fmt.Errorf("%w: hosts", memstore.ErrLimit), "limit")
	e(errNoCluster, "malformed")
}
