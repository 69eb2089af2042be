package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive/ccms"
	"github.com/ringstore/ringstore/memstore"
)

// ImportSummary counts what [Archive.Import] read, and what it did not keep.
type ImportSummary struct {
	ccms.Summary
	Losses []Loss // at most one per reason, in descending order of samples
}

// Loss counts the samples that were read and not kept for one reason.
type Loss struct {
	Reason  string
	Samples int
	Metrics []MetricLoss // in descending order of samples
}

// MetricLoss counts the samples of one metric. An empty name stands for the metrics beyond the
// first 1000.
type MetricLoss struct {
	Metric  string
	Samples int
}

// Reasons of a [Loss] beside those of [memstore.RefusalReason].
const (
	lossUnknownMetric = "the metric is not configured"
	lossName          = "the name of the cluster, host or device is not allowed"
	lossSharedSlot    = "a later sample has the same slot: the configured frequency is longer than the interval of the samples"
)

// Import stores the samples of a checkpoint directory of cc-metric-store that are within the
// retention and for which the store has no value yet, and writes a checkpoint. Nothing on disk changes before that, so an import that failed
// can simply be repeated. There must be no other writer meanwhile. The error is one of reading the
// directory or of writing the checkpoint, or [memstore.ErrMemory]; damaged files are in the
// summary. After an error the archive must be closed.
func (a *Archive) Import(ctx context.Context, from fs.FS) (ImportSummary, error) {
	if a.readOnly != nil {
		return ImportSummary{}, fmt.Errorf("import: %w", a.readOnly)
	}
	m := importer{store: a.Store, losses: map[string]map[string]int{}}
	logged := time.Now()
	sink := func(s ccms.Series) (refused int, err error) {
		if time.Since(logged) > progressEvery {
			logged = time.Now()
			a.Logger.Info("importing", "cluster", s.Key.Cluster, "host", s.Key.Host)
		}
		return m.write(s)
	}
	since := a.Now().Add(-a.Store.Retention()).Unix()
	read, err := ccms.Read(ctx, from, ccms.Options{Since: since}, sink)
	summary := ImportSummary{read, m.summary()}
	if err == nil {
		err = a.Store.Maintain()
	}
	if err != nil {
		a.importFailed.Store(true)
		return summary, fmt.Errorf("import: %w", err)
	}
	return summary, a.Checkpoint()
}

// importer is one call of [Archive.Import].
type importer struct {
	store  *memstore.Store
	batch  []memstore.Sample
	losses map[string]map[string]int // samples, by reason and metric

	// Of the host being read, whose series come in several runs.
	host   [2]string // its cluster and name
	newest map[*memstore.Series]slotTimes
	held   map[*memstore.Series]memstore.Held // before the import
}

// slotTimes are two times of a series in Unix seconds. Slots are counted from the first one, as the
// store does.
type slotTimes struct{ first, newest int64 }

// write is a [ccms.Sink].
func (m *importer) write(s ccms.Series) (refused int, err error) {
	sr, err := m.store.Series(s.Key)
	switch {
	case errors.Is(err, memstore.ErrMemory):
		return 0, err
	case err != nil:
		m.lose(lookupLoss(err), s.Key.Metric, len(s.Times))
		return len(s.Times), nil
	}
	m.batch = m.batch[:0]
	for i, t := range s.Times {
		m.batch = append(m.batch, memstore.Sample{Series: sr, Time: t * 1000, Value: s.Values[i]})
	}
	if host := [2]string{s.Key.Cluster, s.Key.Host}; m.newest == nil || host != m.host {
		m.host, m.newest, m.held = host, map[*memstore.Series]slotTimes{}, map[*memstore.Series]memstore.Held{}
	}
	held, known := m.held[sr]
	if !known {
		held = m.store.Held(sr)
		m.held[sr] = held
	}
	refusals, err := m.store.WriteMissing(m.batch, held)
	for _, r := range refusals {
		m.lose(string(r.Reason), s.Key.Metric, 1)
	}
	m.lose(lossSharedSlot, s.Key.Metric, m.sharedSlots(s, sr, refusals))
	return len(refusals), err
}

// lookupLoss returns the reason for which the store has no series.
func lookupLoss(err error) string {
	switch {
	case errors.Is(err, memstore.ErrUnknownMetric):
		return lossUnknownMetric
	case errors.Is(err, memstore.ErrLimit):
		return string(memstore.RefusedLimit)
	}
	return lossName
}

// sharedSlots returns how many stored samples of a run replaced the one before them.
func (m *importer) sharedSlots(s ccms.Series, sr *memstore.Series, refusals []memstore.Refusal) (n int) {
	frequency := int64(sr.Frequency() / time.Second)
	at, known := m.newest[sr]
	slot := func(t int64) int64 { return (t - at.first + frequency/2) / frequency }
	for i, t := range s.Times {
		if len(refusals) > 0 && refusals[0].Index == i {
			refusals = refusals[1:]
			continue
		}
		switch {
		case !known:
			known, at.first = true, t
		case t > at.newest && slot(t) == slot(at.newest):
			n++
		}
		at.newest = t
	}
	if known {
		m.newest[sr] = at
	}
	return n
}

// Bounds of what is remembered of losses; metrics' names come from the files.
const (
	maxLossMetrics = 1000
	maxLossName    = 100 // bytes
)

// lose counts samples that are not kept.
func (m *importer) lose(reason, metric string, samples int) {
	if samples == 0 {
		return
	}
	if len(metric) > maxLossName {
		metric = strings.ToValidUTF8(metric[:maxLossName], "") + "..."
	}
	metrics := m.losses[reason]
	if metrics == nil {
		metrics = map[string]int{}
		m.losses[reason] = metrics
	}
	if _, known := metrics[metric]; !known && len(metrics) >= maxLossMetrics {
		metric = ""
	}
	metrics[metric] += samples
}

func (m *importer) summary() []Loss {
	var losses []Loss
	for reason, metrics := range m.losses {
		l := Loss{Reason: reason}
		for _, metric := range slices.Sorted(maps.Keys(metrics)) {
			l.Metrics = append(l.Metrics, MetricLoss{metric, metrics[metric]})
			l.Samples += metrics[metric]
		}
		slices.SortStableFunc(l.Metrics, func(a, b MetricLoss) int { return cmp.Compare(b.Samples, a.Samples) })
		losses = append(losses, l)
	}
	slices.SortFunc(losses, func(a, b Loss) int {
		return cmp.Or(cmp.Compare(b.Samples, a.Samples), cmp.Compare(a.Reason, b.Reason))
	})
	return losses
}
