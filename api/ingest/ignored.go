package ingest

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/api/internal/truncate"
	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// ignoredTags logs the tags that make lines replace each other, once an hour for each metric.
type ignoredTags struct {
	log   *slog.Logger
	times sync.Map // by metric: *atomic.Int64, the Unix time of the last message
}

const ignoredTagsInterval = int64(time.Hour / time.Second)

// warn logs the tags in which the keys of two lines of one series and time differ. extraTags are,
// by metric, those that are not ignored.
func (t *ignoredTags) warn(series *memstore.Series, first, second []byte, extraTags map[string][]string, now time.Time) {
	if t.log == nil || bytes.Equal(first, second) {
		return
	}
	key := series.Key()
	value, ok := t.times.Load(key.Metric)
	if !ok {
		value, _ = t.times.LoadOrStore(key.Metric, new(atomic.Int64))
	}
	last := value.(*atomic.Int64)
	before := last.Load()
	if before != 0 && now.Unix()-before < ignoredTagsInterval {
		return
	}
	names := differingTags(first, second, extraTags[key.Metric])
	if len(names) == 0 || !last.CompareAndSwap(before, now.Unix()) {
		return
	}
	const limit = 200 // bytes, as senders choose the names
	t.log.Warn("lines of a metric replace each other: they differ only in ignored tags",
		"metric", key.Metric, "cluster", key.Cluster, "host", key.Host, "tags", truncate.Text(strings.Join(names, " "), limit),
		"remedy", "list the tags that separate devices in the metric's extra-tags")
}

// differingTags returns the names of the ignored tags in which two keys differ, in alphabetical
// order.
func differingTags(first, second []byte, extra []string) (names []string) {
	a, err := lineprotocol.ParseKey(first)
	if err != nil {
		return nil
	}
	b, err := lineprotocol.ParseKey(second)
	if err != nil {
		return nil
	}
	for _, pair := range [...][2][]lineprotocol.Tag{{a.Extra, b.Extra}, {b.Extra, a.Extra}} {
		for _, tag := range pair[0] {
			if !slices.Contains(pair[1], tag) && !slices.Contains(extra, tag.Name) {
				names = append(names, tag.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
