package estimate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	}
	return total, nil
}

// startTime is when a run begins, in Unix seconds. Any time would do.
const startTime = 1_700_000_000

// measureLane is measure for series of one frequency.
func measureLane(ctx context.Context, cfg *configs.Config, series []syntheticSeries, frequency time.Duration, precision func(metric string) int) (need, error) {
	now := time.Unix(startTime, 0)
	o := setup.StoreOptions(cfg)
	o.MemoryLimit = 0
	o.Now = func() time.Time { return now }
	for i := range o.Metrics {
		o.Metrics[i].Precision = precision(o.Metrics[i].Name)
	}
	store, err := memstore.New(o)
	if err != nil {
		return need{}, err
	}
	random := rand.New(rand.NewPCG(1, 1))
	generators := make([]valueGenerator, len(series))
	batch := make([]memstore.Sample, len(series))
	for i, s := range series {
		generators[i] = s.valueGenerator
		if batch[i].Series, err = store.Series(s.key); err != nil {
			return need{}, err
		}
	}
	// Sizes are averaged over one window, which is at most a fifth of the retention long.
	full := int(o.Retention/frequency) + 1
	last := full + max(full/5, 16)
	var bytes, counted float64
	for slot := range last {
		now = now.Add(frequency)
		for i := range batch {
			batch[i].Time, batch[i].Value = now.UnixMilli(), generators[i].next(random)
		}
		if refused, err := store.Write(batch); err != nil || len(refused) > 0 {
			return need{}, errors.Join(err, fmt.Errorf("%d synthetic samples were rejected", len(refused)))
		}
		if slot%8 != 0 && slot < full {
			continue
		}
		if err := errors.Join(store.Maintain(), ctx.Err()); err != nil {
			return need{}, err
		}
		if slot >= full {
			bytes += float64(store.Size().Bytes)
			counted++
		}
	}
	n := need{
		series:       float64(len(series)),
		valuesPerDay: float64(len(series)) * (24 * time.Hour).Seconds() / frequency.Seconds(),
		memory:       bytes / counted,
	}
	n.held, n.disk, err = measureArchive(store)
	return n, err
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
