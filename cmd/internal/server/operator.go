package server

import (
	"cmp"
	"context"
	"maps"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// operator implements [rest.Operator] with the server's parts.
type operator struct {
	store    *memstore.Store
	archive  *archive.Archive
	counters prometheus.Gatherer
	notes    func() []string
	cap      int64 // of the process in bytes; 0: none
	started  time.Time
	version  string
}

func newOperator(s *Server) operator {
	limit, _ := configs.MemoryCap(s.cfg.MetricStore.MemoryCap)
	return operator{store: s.store, archive: s.archive, counters: s.registry, notes: s.notes, cap: limit, started: time.Now(), version: s.version}
}

// Snapshot implements [rest.Operator].
func (o operator) Snapshot(ctx context.Context) (rest.Snapshot, error) {
	s, err := o.archive.Snapshot(ctx)
	if err != nil {
		return rest.Snapshot{}, err
	}
	path, err := filepath.Abs(s.Path)
	if err != nil {
		return rest.Snapshot{}, err
	}
	return rest.Snapshot{Path: path, Time: s.Time.Unix(), Files: s.Files, Bytes: s.Bytes}, nil
}

// ConfirmClock implements [rest.Operator].
func (o operator) ConfirmClock() rest.ClockConfirmed {
	before := o.archive.ConfirmClock()
	return rest.ClockConfirmed{Time: before.Now.Add(before.Ahead).Unix(), Ahead: before.Ahead.Seconds()}
}

// Status implements [rest.Operator].
func (o operator) Status(_ context.Context, top int) (rest.Status, error) {
	subscriptions, err := o.subscriptions()
	if err != nil {
		return rest.Status{}, err
	}
	size, disk := o.store.Size(), o.archive.Status()
	hosts, perMetric := o.store.Usage()
	s := rest.Status{
		Version:       o.version,
		Started:       o.started.Unix(),
		Uptime:        int64(time.Since(o.started).Seconds()),
		Ready:         disk.Unavailable == nil,
		Reasons:       []string{},
		Notes:         append([]string{}, o.notes()...),
		Hosts:         size.Hosts,
		Series:        size.Series,
		Clusters:      clusterSizes(hosts),
		TopHosts:      largest(hosts, top),
		TopMetrics:    largest(perMetric, top),
		Memory:        o.memory(size),
		Journal:       rest.Journal{Segments: disk.Journal.Segments, Bytes: disk.Journal.Bytes},
		Checkpoint:    lastCheckpoint(disk),
		Subscriptions: subscriptions,
	}
	if disk.Unavailable != nil {
		s.Journal.Unavailable = disk.Unavailable.Error()
		s.Reasons = append(s.Reasons, s.Journal.Unavailable)
	}
	return s, nil
}

func (o operator) memory(size memstore.Size) rest.Memory {
	total := []metrics.Sample{{Name: "/memory/classes/total:bytes"}}
	metrics.Read(total)
	return rest.Memory{
		Bytes:          size.Bytes,
		Limit:          size.Limit,
		Cap:            o.cap,
		Blocks:         size.Blocks,
		BlockBytes:     size.BlockBytes,
		Aggregates:     size.Aggregates,
		AggregateBytes: size.AggregateBytes,
		EvictedWindows: size.Evicted,
		Process:        int64(total[0].Value.Uint64()),
	}
}

func lastCheckpoint(s archive.Status) *rest.Checkpoint {
	r := s.Checkpoints
	if r.LastDone.IsZero() && r.Err == nil {
		return nil
	}
	c := &rest.Checkpoint{Took: r.LastTook.Seconds(), Bytes: r.LastBytes}
	if !r.LastDone.IsZero() {
		c.Time = r.LastDone.Unix()
	}
	if r.Err != nil {
		c.Error = r.Err.Error()
	}
	return c
}

// clusterSizes returns the sum of each cluster's hosts, by cluster name.
func clusterSizes(hosts []memstore.Usage) []rest.ClusterSize {
	sizes := make(map[string]rest.ClusterSize)
	for _, h := range hosts {
		c := sizes[h.Cluster]
		sizes[h.Cluster] = rest.ClusterSize{
			Cluster: h.Cluster, Hosts: c.Hosts + 1, Series: c.Series + h.Series, Bytes: c.Bytes + h.Bytes,
		}
	}
	sorted := make([]rest.ClusterSize, 0, len(sizes))
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		sorted = append(sorted, sizes[name])
	}
	return sorted
}

// largest returns the top entries by each of the two measures. It reorders all.
func largest(all []memstore.Usage, top int) rest.Largest {
	first := func(measure func(memstore.Usage) int64) []rest.Size {
		slices.SortFunc(all, func(a, b memstore.Usage) int {
			return cmp.Or(cmp.Compare(measure(b), measure(a)), cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Name, b.Name))
		})
		sizes := make([]rest.Size, min(top, len(all)))
		for i := range sizes {
			sizes[i] = rest.Size(all[i])
		}
		return sizes
	}
	return rest.Largest{
		BySeries: first(func(u memstore.Usage) int64 { return int64(u.Series) }),
		ByBytes:  first(func(u memstore.Usage) int64 { return u.Bytes }),
	}
}

// subscriptions returns the counters of NATS, by subject.
func (o operator) subscriptions() ([]rest.Subscription, error) {
	families, err := o.counters.Gather()
	if err != nil {
		return nil, err
	}
	bySubject := make(map[string]map[string]float64)
	for _, f := range families {
		name, ok := strings.CutPrefix(f.GetName(), "ringstore_nats_")
		if !ok {
			continue
		}
		for _, m := range f.GetMetric() {
			subject, ok := label(m, "subject")
			if _, ofPrincipal := label(m, "issuer"); !ok || ofPrincipal {
				continue // the subject of a principal is none of NATS
			}
			if bySubject[subject] == nil {
				bySubject[subject] = make(map[string]float64)
			}
			bySubject[subject][strings.TrimSuffix(name, "_total")] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	subscriptions := make([]rest.Subscription, 0, len(bySubject))
	for _, subject := range slices.Sorted(maps.Keys(bySubject)) {
		subscriptions = append(subscriptions, rest.Subscription{Subject: subject, Counters: bySubject[subject]})
	}
	return subscriptions, nil
}

func label(m *dto.Metric, name string) (string, bool) {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue(), true
		}
	}
	return "", false
}
