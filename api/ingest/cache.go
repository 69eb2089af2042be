package ingest

import (
	"errors"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// mostKeys bounds the cache: room for a site's keys several times over, in at
// most 1 GiB. With more it starts anew.
const mostKeys = 12 << 20

// seriesCache knows the series of the keys that have been seen.
type seriesCache struct {
	hasher hasher

	mu      sync.RWMutex
	table   table
	spelled map[*memstore.Series]fingerprint // series that a key with ignored tags led to
	limit   int                              // keys
}

func newCache() seriesCache {
	return seriesCache{hasher: newHasher(), spelled: make(map[*memstore.Series]fingerprint), limit: mostKeys}
}

// errForbidden is of lines whose cluster the sender may not write to.
var errForbidden = errors.New("not permitted on this cluster")

// series finds or makes the series of a key that the cache may not know; nil
// if its metric is not configured.
func (g *Ingester) series(src Source, key fingerprint, raw, field []byte) (*memstore.Series, error) {
	if known, ok := g.cache.get(key); ok {
		if known.series != nil && !src.may(known.series.Cluster()) {
			return nil, errForbidden
		}
		return known.series, nil
	}
	parsed, err := lineprotocol.ParseKey(raw)
	if err != nil {
		return nil, err
	}
	if len(field) > 0 {
		parsed.Metric += "_" + string(field)
	}
	if metric, ok := g.Aliases[parsed.Metric]; ok {
		parsed.Metric = metric
	}
	path, ignored, err := g.seriesKey(parsed, src.Cluster)
	if err != nil {
		return nil, err
	}
	if !src.may(path.Cluster) {
		return nil, errForbidden
	}
	series, err := g.Store.Series(path)
	if err != nil && !errors.Is(err, memstore.ErrUnknownMetric) {
		return nil, err
	}
	g.cache.add(key, series, ignored)
	return series, nil
}

var errNoCluster = errors.New("no cluster: neither a tag nor a default")

// seriesKey makes a line's key a series' path, and tells whether it holds tags
// that are ignored. Extra tags of the metric stand as a subtype, behind one
// that is there.
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

// places returns where keys are looked for, to prepare for that.
func (c *seriesCache) places() places {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.table.buckets
}

// get returns what is known of a key, if its series is still in the store.
func (c *seriesCache) get(key fingerprint) (slot, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.table.find(key)
	if s == nil || s.series != nil && s.series.Gone() {
		return slot{}, false
	}
	return *s, true
}

// add makes or renews the entry of a key. ignored says that the key holds tags
// that do not count.
func (c *seriesCache) add(key fingerprint, series *memstore.Series, ignored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.table.used >= c.limit {
		c.table = table{}
		clear(c.spelled)
	}
	s := c.table.insert(key)
	s.series = series
	if ignored && series != nil {
		c.spell(key, s)
	}
}

// spell notes that a key with ignored tags leads to a slot's series, and marks all
// of these once there are two.
func (c *seriesCache) spell(key fingerprint, s *slot) {
	other, known := c.spelled[s.series]
	switch {
	case !known:
		c.spelled[s.series] = key
	case other != key:
		s.tag |= sharedBit
		if o := c.table.find(other); o != nil {
			o.tag |= sharedBit
		}
	}
}
