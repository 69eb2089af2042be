package ingest

import (
	"errors"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// maxKeys bounds the cache to 1 GiB, which holds the keys of a large site several times over. A
// full cache is emptied.
const maxKeys = 12 << 20

// seriesCache maps the keys of earlier lines to their series.
type seriesCache struct {
	hasher hasher

	mu       sync.RWMutex
	table    table
	firstKey map[*memstore.Series]fingerprint // of the keys with ignored tags, by series
	limit    int                              // keys
}

func newCache() seriesCache {
	return seriesCache{hasher: newHasher(), firstKey: make(map[*memstore.Series]fingerprint), limit: maxKeys}
}

// errForbidden rejects a line of a cluster that the sender may not write to.
var errForbidden = errors.New("not permitted on this cluster")

// series finds or creates the series of a key and adds it to the cache. It returns nil if the
// metric is not configured.
func (g *Ingester) series(src Source, key fingerprint, raw, field []byte) (*memstore.Series, error) {
	if known, ok := g.cache.get(key); ok {
		if known.series != nil && !src.may(known.series.Cluster()) {
			return nil, errForbidden
		}
		return known.series, nil
	}
	// The metric comes first: nothing else matters in a line whose metric is not configured.
	measurement, ok := lineprotocol.Measurement(raw)
	metric := g.metric(lineprotocol.MetricName(measurement, field))
	if ok && !g.Store.HasMetric(metric) {
		g.cache.add(key, nil, false)
		return nil, nil
	}
	parsed, err := lineprotocol.ParseKey(raw)
	if err != nil {
		return nil, err
	}
	parsed.Metric = metric
	path, ignored, err := g.seriesKey(parsed, src.Cluster)
	if err != nil {
		return nil, err
	}
	if !src.may(path.Cluster) {
		return nil, errForbidden
	}
	series, err := g.Store.Series(path)
	if err != nil {
		return nil, err
	}
	g.cache.add(key, series, ignored)
	return series, nil
}

// metric returns the metric that a name in a line means.
func (g *Ingester) metric(name string) string {
	if metric, ok := g.Aliases[name]; ok {
		return metric
	}
	return name
}

var errNoCluster = errors.New("no cluster: neither a tag nor a default")

// seriesKey converts a line's key to that of its series. ignored reports whether the line has tags
// that are not part of it. The metric's extra tags become a subtype, appended to the line's own
// subtype.
func (g *Ingester) seriesKey(k lineprotocol.Key, cluster string) (key memstore.Key, ignored bool, err error) {
	if k.Cluster == "" {
		k.Cluster = cluster
	}
	switch {
	case k.Cluster == "":
		return key, false, errNoCluster
	case k.Host == "":
		return key, false, errors.New("no hostname tag")
	}
	key = memstore.Key{
		Cluster: k.Cluster, Host: k.Host, Metric: k.Metric,
		Device: memstore.Device{Type: k.Type, TypeID: k.TypeID, Subtype: k.Subtype, SubtypeID: k.SubtypeID},
	}
	used := 0
	for _, name := range g.ExtraTags[k.Metric] {
		i := slices.IndexFunc(k.Extra, func(t lineprotocol.Tag) bool { return t.Name == name })
		if i < 0 {
			continue
		}
		key.Device.Subtype = join(key.Device.Subtype, name)
		key.Device.SubtypeID = join(key.Device.SubtypeID, k.Extra[i].Value)
		used++
	}
	return key, len(k.Extra) > used, nil
}

func join(list, name string) string {
	if list == "" {
		return name
	}
	return list + "," + name
}

// bucketView returns the table's buckets, for prefetching without the lock.
func (c *seriesCache) bucketView() bucketView {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.table.buckets
}

// get returns the entry of a key, unless its series has left the store.
func (c *seriesCache) get(key fingerprint) (slot, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.table.find(key)
	if s == nil || s.series != nil && s.series.Gone() {
		return slot{}, false
	}
	return *s, true
}

// add creates or replaces the entry of a key. ignored says that the key has ignored tags.
func (c *seriesCache) add(key fingerprint, series *memstore.Series, ignored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.used >= c.limit {
		c.table = table{}
		clear(c.firstKey)
	}
	s := c.table.insert(key)
	s.series = series
	if ignored && series != nil {
		c.addAlias(key, s)
	}
}

// addAlias records that a key with ignored tags maps to the slot's series. From the second such key
// on, it marks their slots as shared.
func (c *seriesCache) addAlias(key fingerprint, s *slot) {
	first, known := c.firstKey[s.series]
	switch {
	case !known:
		c.firstKey[s.series] = key
	case first != key:
		s.tag |= sharedBit
		if f := c.table.find(first); f != nil {
			f.tag |= sharedBit
		}
	}
}
