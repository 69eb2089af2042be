package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

// What a start could not restore is exported by kind.
func TestRestoreMetrics(t *testing.T) {
	dir := t.TempDir()
	restored := func() *archive.Archive {
		t.Helper()
		store, err := memstore.New(memstore.Options{Metrics: []memstore.Metric{{Name: "load", Frequency: time.Minute}}, Retention: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		a, err := archive.Open(archive.Options{Dir: dir, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		return a
	}
	if err := restored().Close(); err != nil {
		t.Fatal(err)
	}
	windows, err := filepath.Glob(filepath.Join(dir, "ringstore", "windows-*"))
	if err != nil || len(windows) != 1 {
		t.Fatal(windows, err)
	}
	if err := os.Rename(windows[0], filepath.Join(dir, "ringstore", "windows-0000000000001.rsw")); err != nil {
		t.Fatal(err)
	}
	a := restored()
	defer a.Close()
	const want = `
		# HELP ringstore_restore_problems_total What the start found in the checkpoint directory, by kind: damaged places, files that do not belong or are missing, and parts of files that cannot be read.
		# TYPE ringstore_restore_problems_total counter
		ringstore_restore_problems_total{kind="damaged"} 0
		ringstore_restore_problems_total{kind="foreign"} 1
		ringstore_restore_problems_total{kind="missing"} 1
		ringstore_restore_problems_total{kind="unreadable"} 0
	`
	if err := testutil.CollectAndCompare(archiveCollector(a), strings.NewReader(want), "ringstore_restore_problems_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(archiveCollector(a)); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// TestStoreMetrics: every number in the store's size is exported, evictions as a counter.
func TestStoreMetrics(t *testing.T) {
	store, err := memstore.New(memstore.Options{
		Metrics:     []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention:   time.Hour,
		MemoryLimit: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	sr, err := store.Series(memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Write([]memstore.Sample{{Series: sr, Time: time.Now().UnixMilli(), Value: 1}}); err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(storeCollector(store)); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, f := range families {
		got[f.GetName()] = f.Metric[0].GetGauge().GetValue() + f.Metric[0].GetCounter().GetValue()
	}
	f := func(name string, want float64) {
		t.Helper()
		if v, ok := got["ringstore_store_"+name]; !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	f("hosts", 1)
	f("series", 1)
	f("bytes", float64(store.Size().Bytes))
	f("limit_bytes", 1<<20)
	f("blocks", 0)
	f("block_bytes", 0)
	f("block_values", 0)
	f("aggregates", 0)
	f("aggregate_bytes", 0)
	f("evicted_windows_total", 0)
	if problems, err := testutil.CollectAndLint(storeCollector(store)); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// Each cluster's hosts, series and bytes are exported.
func TestClusterMetrics(t *testing.T) {
	store, err := memstore.New(memstore.Options{Metrics: []memstore.Metric{{Name: "load", Frequency: time.Minute}}, Retention: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []memstore.Key{{Cluster: "alpha", Host: "n1"}, {Cluster: "alpha", Host: "n2"}, {Cluster: "beta", Host: "n1"}} {
		k.Metric = "load"
		if _, err := store.Series(k); err != nil {
			t.Fatal(err)
		}
	}
	const want = `
		# HELP ringstore_cluster_hosts Hosts of a cluster that hold samples.
		# TYPE ringstore_cluster_hosts gauge
		ringstore_cluster_hosts{cluster="alpha"} 2
		ringstore_cluster_hosts{cluster="beta"} 1
		# HELP ringstore_cluster_series Series of a cluster that hold samples.
		# TYPE ringstore_cluster_series gauge
		ringstore_cluster_series{cluster="alpha"} 2
		ringstore_cluster_series{cluster="beta"} 1
		# HELP ringstore_cluster_evicted_windows_total Windows of a cluster evicted for lack of memory before their retention was over, since it got its first host.
		# TYPE ringstore_cluster_evicted_windows_total counter
		ringstore_cluster_evicted_windows_total{cluster="alpha"} 0
		ringstore_cluster_evicted_windows_total{cluster="beta"} 0
	`
	c := newClusterCollector(store)
	if err := testutil.CollectAndCompare(c, strings.NewReader(want), "ringstore_cluster_hosts", "ringstore_cluster_series", "ringstore_cluster_evicted_windows_total"); err != nil {
		t.Error(err)
	}
	if problems, err := testutil.CollectAndLint(c); err != nil || len(problems) > 0 {
		t.Error(problems, err)
	}
}

// TestRejected: all verified tokens count but those that were accepted.
func TestRejected(t *testing.T) {
	chain, err := auth.NewChain(auth.ChainConfig{Issuers: []auth.Issuer{{Name: "cc-backend"}}})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := chain.Authenticate(t.Context(), "garbage"); err == nil {
			t.Fatal("garbage was accepted")
		}
	}
	if n := rejected(chain); n != 3 {
		t.Errorf("%d rejected tokens, want 3", n)
	}
}
