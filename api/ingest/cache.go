package ingest

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// defaultCacheBytes is the default of [Options].CacheBytes.
const defaultCacheBytes = 1 << 30

// seriesCache maps the keys of earlier lines to their series. It has two generations: a full table
// becomes the old one, and the keys of it that are used again move to the new one. So the keys that
// leave the cache are those that have not been used for longest.
type seriesCache struct {
	hasher  hasher
	unknown unknownKeys

	mu         sync.RWMutex
	current    generation
	old        generation
	maxBuckets int           // of a generation
	maxAliases int           // of a generation
	accounted  int64         // bytes
	account    func(n int64) // adds bytes to the memory accounting
}

// generation is a table of series.
type generation struct {
	table
	firstKey map[*memstore.Series]fingerprint // of the keys with ignored tags, by series
}

// aliasBytes is the average memory of an entry of generation.firstKey.
const aliasBytes = 64

// newCache returns a cache that takes up to a number of bytes, but at least a few.
func newCache(limit int64, account func(int64)) seriesCache {
	n := minBuckets
	// While the new generation grows to this size, its former half and the old one exist as well.
	for 2*int64(n)*bucketBytes*5/2 <= limit {
		n *= 2
	}
	return seriesCache{hasher: newHasher(), unknown: newUnknownKeys(), maxBuckets: n, maxAliases: n / 4, account: account}
}

// errForbidden rejects a line of a cluster that the sender may not write to.
var errForbidden = errors.New("not permitted on this cluster")

// refusedError says that no series may be created for a sample, because the store would refuse it.
type refusedError memstore.RefusalReason

func (e refusedError) Error() string { return string(e) }

// series finds or creates the series of a sample's key and adds it to the cache. It returns nil if
// the metric is not configured. The error may be a refusedError.
func (g *Ingester) series(src Source, key fingerprint, raw, field []byte, x memstore.Sample) (*memstore.Series, error) {
	if sr := g.cache.get(key); sr != nil {
		if !src.may(sr.Cluster()) {
			return nil, errForbidden
		}
		return sr, nil
	}
	// The metric comes first: nothing else matters in a line whose metric is not configured.
	measurement, ok := lineprotocol.Measurement(raw)
	metric := g.metric(lineprotocol.MetricName(measurement, field))
	if ok && !g.Store.HasMetric(metric) {
		g.cache.unknown.add(key)
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
	if reason := g.Store.Refuses(metric, x.Time, x.Value); reason != "" {
		return nil, refusedError(reason)
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

// bucketView returns the current table's buckets, for prefetching without the lock.
func (c *seriesCache) bucketView() bucketView {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.current.buckets
}

// get returns the series of a key; nil if there is none, or if it has left the store. It moves a key
// of the old generation to the current one.
func (c *seriesCache) get(key fingerprint) *memstore.Series {
	c.mu.RLock()
	s, isOld := c.current.find(key), false
	if s == nil || s.series == nil {
		s, isOld = c.old.find(key), true
	}
	var series *memstore.Series
	var isAlias bool
	if s != nil && s.series != nil && !s.series.Gone() {
		series = s.series
		isAlias = isOld && (s.tag&sharedBit != 0 || c.old.firstKey[series] == key)
	}
	c.mu.RUnlock()
	if series != nil && isOld {
		c.add(key, series, isAlias)
	}
	return series
}

// isShared reports whether a key leads to a series that keys with other ignored tags lead to as well.
func (c *seriesCache) isShared(key fingerprint) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.current.find(key)
	return s != nil && s.tag&sharedBit != 0
}

// add adds or replaces the entry of a key. ignored says that the key has ignored tags.
func (c *seriesCache) add(key fingerprint, series *memstore.Series, ignored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.isFull(c.maxBuckets) || len(c.current.firstKey) >= c.maxAliases {
		c.old, c.current = c.current, generation{}
	}
	s := c.current.insert(key)
	s.series = series
	if ignored {
		c.current.addAlias(key, s)
	}
	c.update()
}

// update updates the memory accounting.
func (c *seriesCache) update() {
	var n int64
	for _, g := range [...]*generation{&c.current, &c.old} {
		n += int64(len(g.buckets))*bucketBytes + int64(len(g.firstKey))*aliasBytes
	}
	if n != c.accounted {
		c.account(n - c.accounted)
		c.accounted = n
	}
}

// addAlias records that a key with ignored tags maps to the slot's series. From the second such key
// on, it marks their slots as shared.
func (g *generation) addAlias(key fingerprint, s *slot) {
	if g.firstKey == nil {
		g.firstKey = make(map[*memstore.Series]fingerprint)
	}
	first, known := g.firstKey[s.series]
	switch {
	case !known:
		g.firstKey[s.series] = key
	case first != key:
		s.tag |= sharedBit
		if f := g.find(first); f != nil {
			f.tag |= sharedBit
		}
	}
}

// sweepAtOnce is how many buckets are swept while writers wait.
const sweepAtOnce = 1 << 10

// sweep releases the series that have left the store. Their slots stay used until the table is
// rebuilt.
func (c *seriesCache) sweep() {
	for begin, more := 0, true; more; begin += sweepAtOnce {
		c.mu.Lock()
		more = c.current.sweep(begin, sweepAtOnce)
		more = c.old.sweep(begin, sweepAtOnce) || more
		c.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, g := range [...]*generation{&c.current, &c.old} {
		maps.DeleteFunc(g.firstKey, func(sr *memstore.Series, _ fingerprint) bool { return sr.Gone() })
	}
	if c.old.buckets != nil && c.old.isEmpty() {
		c.old = generation{}
	}
	c.update()
}
