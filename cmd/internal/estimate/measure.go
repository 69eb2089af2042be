package estimate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// need is what the series of one host need.
type need struct {
	series       float64
	valuesPerDay float64
	held         float64 // values in memory, on average
	memory       float64 // their bytes, by the store's accounting
	disk         float64 // bytes of a checkpoint of as many values
}

func (n *need) add(o need, times float64) {
	n.series += o.series * times
	n.valuesPerDay += o.valuesPerDay * times
	n.held += o.held * times
	n.memory += o.memory * times
	n.disk += o.disk * times
}

// maxValues is how many values are made up for the series of one frequency. If there are more, only
// a random selection of the series is measured.
const maxValues = 200_000

// measure runs a store and an archive on one host's series until the first windows expire, and
// returns what they need.
func measure(ctx context.Context, cfg *configs.Config, series []syntheticSeries, precision func(metric string) int) (need, error) {
	byFrequency := make(map[time.Duration][]syntheticSeries)
	for _, s := range series {
		f := time.Duration(cfg.Metrics[s.key.Metric].Frequency) * time.Second
		byFrequency[f] = append(byFrequency[f], s)
	}
	var total need
	for frequency, group := range byFrequency {
		slots := int(cfg.MetricStore.RetentionInMemory / frequency)
		rand.New(rand.NewPCG(1, 2)).Shuffle(len(group), func(i, j int) { group[i], group[j] = group[j], group[i] })
		some := group[:min(len(group), 1+maxValues/max(slots, 1))]
		n, err := measureLane(ctx, cfg, some, frequency, precision)
		if err != nil {
			return need{}, err
		}
		total.add(n, float64(len(group))/float64(len(some)))
		aggregates, err := measureAggregates(ctx, cfg, group, frequency, precision)
		if err != nil {
			return need{}, err
		}
		total.memory += aggregates
		total.disk += aggregates
	}
	return total, nil
}

// measureAggregates returns the bytes of the aggregates of one host's series: of each metric with an
// aggregation and several devices, whose number hardly matters.
func measureAggregates(ctx context.Context, cfg *configs.Config, series []syntheticSeries, frequency time.Duration, precision func(metric string) int) (float64, error) {
	byMetric := make(map[string][]syntheticSeries)
	for _, s := range series {
		if m := s.key.Metric; len(byMetric[m]) < 2 && cfg.Metrics[m].Aggregation != "" {
			byMetric[m] = append(byMetric[m], s)
		}
	}
	var pairs []syntheticSeries
	for _, name := range slices.Sorted(maps.Keys(byMetric)) {
		if pair := byMetric[name]; len(pair) == 2 {
			pairs = append(pairs, pair...)
		}
	}
	if len(pairs) == 0 {
		return 0, nil
	}
	_, _, bytes, err := fill(ctx, cfg, pairs, frequency, precision, true)
	return bytes, err
}

// startTime is when a run begins, in Unix seconds. Any time would do.
const startTime = 1_700_000_000

// measureLane is measure for series of one frequency, without aggregates.
func measureLane(ctx context.Context, cfg *configs.Config, series []syntheticSeries, frequency time.Duration, precision func(metric string) int) (need, error) {
	store, bytes, _, err := fill(ctx, cfg, series, frequency, precision, false)
	if err != nil {
		return need{}, err
	}
	n := need{
		series:       float64(len(series)),
		valuesPerDay: float64(len(series)) * (24 * time.Hour).Seconds() / frequency.Seconds(),
		memory:       bytes,
	}
	n.held, n.disk, err = measureArchive(store)
	return n, err
}

// fill runs a store on series of one frequency until the first windows expire. It returns the bytes
// that it takes on average, and how many of them are those of aggregates.
func fill(ctx context.Context, cfg *configs.Config, series []syntheticSeries, frequency time.Duration, precision func(metric string) int, aggregate bool) (store *memstore.Store, bytes, aggregates float64, err error) {
	now := time.Unix(startTime, 0)
	o := setup.StoreOptions(cfg)
	o.MemoryLimit, o.Limits.ByCluster = 0, nil
	o.Now = func() time.Time { return now }
	for i := range o.Metrics {
		o.Metrics[i].Precision = precision(o.Metrics[i].Name)
		if !aggregate {
			o.Metrics[i].Aggregation = memstore.AggregateNone
		}
	}
	if store, err = memstore.New(o); err != nil {
		return nil, 0, 0, err
	}
	random := rand.New(rand.NewPCG(1, 1))
	generators := make([]valueGenerator, len(series))
	batch := make([]memstore.Sample, len(series))
	for i, s := range series {
		generators[i] = s.valueGenerator
		if batch[i].Series, err = store.Series(s.key); err != nil {
			return nil, 0, 0, err
		}
	}
	// Sizes are averaged over one window, which is at most a fifth of the retention long.
	full := int(o.Retention/frequency) + 1
	last := full + max(full/5, 16)
	counted := 0.
	for slot := range last {
		now = now.Add(frequency)
		for i := range batch {
			batch[i].Time, batch[i].Value = now.UnixMilli(), generators[i].next(random)
		}
		if refused, err := store.Write(batch); err != nil || len(refused) > 0 {
			return nil, 0, 0, errors.Join(err, fmt.Errorf("%d synthetic samples were rejected", len(refused)))
		}
		if slot%8 != 0 && slot < full {
			continue
		}
		if err := errors.Join(store.Maintain(), ctx.Err()); err != nil {
			return nil, 0, 0, err
		}
		if slot >= full {
			size := store.Size()
			bytes += float64(size.Bytes)
			aggregates += float64(size.AggregateBytes)
			counted++
		}
	}
	return store, bytes / counted, aggregates / counted, nil
}

// measureArchive returns how many values a store holds, and the bytes of a checkpoint of them.
func measureArchive(store *memstore.Store) (values, bytes float64, err error) {
	dir, err := os.MkdirTemp("", "ringstore-estimate-")
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a, err := archive.Open(archive.Options{Dir: dir, Store: store})
	if err != nil {
		return 0, 0, err
	}
	if _, err := a.Restore(context.Background()); err != nil {
		return 0, 0, errors.Join(err, a.Close())
	}
	held, err := store.Values()
	if err := errors.Join(err, a.Close()); err != nil { // Close writes a checkpoint
		return 0, 0, err
	}
	values = float64(held)
	err = filepath.WalkDir(dir, func(_ string, f fs.DirEntry, err error) error {
		if err != nil || f.IsDir() {
			return err
		}
		info, err := f.Info()
		if err == nil {
			bytes += float64(info.Size())
		}
		return err
	})
	return values, bytes, err
}
