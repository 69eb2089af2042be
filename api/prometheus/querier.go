package prometheus

import (
	"context"
	"iter"
	"maps"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/ringstore/ringstore/memstore"
)

// queryable reads for one request, in one goroutine at a time.
type queryable struct {
	a *API
	*reading
}

// Querier implements [storage.Queryable].
func (q queryable) Querier(mint, maxt int64) (storage.Querier, error) {
	return &querier{q, mint, maxt}, nil
}

// querier reads the samples from mint to maxt, Unix milliseconds, both inclusive.
type querier struct {
	queryable
	mint, maxt int64
}

// Close implements [storage.Querier].
func (q *querier) Close() error { return nil }

// Select implements [storage.Querier]. The samples are read when a series is iterated.
func (q *querier) Select(ctx context.Context, sorted bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	mint, maxt, limit := q.mint, q.maxt, 0
	if hints != nil {
		mint, maxt, limit = hints.Start, hints.End, hints.Limit
	}
	mint, maxt = max(mint, -farthest), min(maxt, farthest)
	set := &seriesSet{source: source{ctx: ctx, reading: q.reading, metrics: q.a.o.Metrics, mint: mint, maxt: maxt}, next: -1}
	set.newest = q.a.o.Now().UnixMilli()
	var b labels.ScratchBuilder
	for i, err := range q.ids(ctx, spanOf(mint, maxt), matchers) {
		if err == nil {
			err = q.hold()
		}
		if err != nil {
			return storage.ErrSeriesSet(err)
		}
		set.series = append(set.series, selected{i, i.labels(&b)})
	}
	if sorted {
		slices.SortFunc(set.series, func(a, b selected) int { return labels.Compare(a.labels, b.labels) })
	}
	if limit > 0 && len(set.series) > limit {
		set.series = set.series[:limit]
	}
	return set
}

// farthest is a time beyond any sample, whose sums do not overflow, in milliseconds.
const farthest = 1 << 61

// spanOf returns the span of the milliseconds from mint to maxt.
func spanOf(mint, maxt int64) memstore.Span {
	return memstore.Span{From: max(mint, -farthest), To: min(maxt, farthest) + 1}
}

// ids yields the series with a sample in t that match, ordered by cluster, host and device.
func (q *querier) ids(ctx context.Context, t memstore.Span, matchers []*labels.Matcher) iter.Seq2[id, error] {
	return func(yield func(id, error) bool) {
		s, possible := newSelector(matchers)
		if !possible {
			return
		}
		names := q.a.matching(s)
		if len(names.byName) == 0 {
			return
		}
		var found []memstore.Found
		for at, err := range q.hosts(s) {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil {
				found, err = q.reader.Find(found[:0], at.cluster, at.host, names.keeps, t)
			}
			if err != nil {
				yield(id{}, err)
				return
			}
			if !names.of(s, at.cluster, at.host, found, func(i id) bool { return yield(i, nil) }) {
				return
			}
		}
	}
}

type place struct{ cluster, host string }

// hosts yields the hosts that match. Those that a selector names need not exist.
func (q *querier) hosts(s selector) iter.Seq2[place, error] {
	return func(yield func(place, error) bool) {
		named, ok := s.named(hostLabel)
		for _, cluster := range q.reader.Clusters() {
			if !s.matches(clusterLabel, cluster) {
				continue
			}
			hosts := named
			if !ok {
				var err error
				if hosts, err = q.reader.Hosts(cluster); err != nil {
					yield(place{}, err)
					return
				}
			}
			for _, host := range hosts {
				if s.matches(hostLabel, host) && !yield(place{cluster, host}, nil) {
					return
				}
			}
		}
	}
}

// LabelValues implements [storage.LabelQuerier].
func (q *querier) LabelValues(ctx context.Context, label string, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	values := make(map[string]bool)
	for i, err := range q.ids(ctx, spanOf(q.mint, q.maxt), matchers) {
		if err != nil {
			return nil, nil, err
		}
		if v := i.label(label); v != "" {
			values[v] = true
		}
	}
	return limited(slices.Sorted(maps.Keys(values)), hints), nil, nil
}

// LabelNames implements [storage.LabelQuerier].
func (q *querier) LabelNames(ctx context.Context, hints *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var has [len(allLabels)]bool
	for i, err := range q.ids(ctx, spanOf(q.mint, q.maxt), matchers) {
		if err != nil {
			return nil, nil, err
		}
		complete := true
		for n, label := range allLabels {
			has[n] = has[n] || i.label(label) != ""
			complete = complete && has[n]
		}
		if complete {
			break
		}
	}
	var names []string
	for n, label := range allLabels {
		if has[n] {
			names = append(names, label)
		}
	}
	return limited(names, hints), nil, nil
}

func limited(values []string, hints *storage.LabelHints) []string {
	if hints != nil && hints.Limit > 0 && len(values) > hints.Limit {
		return values[:hints.Limit]
	}
	return values
}
