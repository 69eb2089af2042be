package ingest

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// cacheBytes bounds the memory of the cache. A site's keys are about 170 bytes
// each in it, so this is room for six million; past it the cache starts anew.
const cacheBytes = 1 << 30

// entryBytes is about what an entry costs beside its key.
const entryBytes = 80

// seriesCache knows the series of the keys that have been seen, by the cluster
// that lines without one belong to.
type seriesCache struct {
	mu       sync.RWMutex
	clusters map[string]map[string]*entry
	spelled  map[*memstore.Series]*entry // series that a key with ignored tags led to
	bytes    int
	limit    int
}

// entry is what is known of a key. It is only changed under the cache's lock.
type entry struct {
	series *memstore.Series // nil: the metric is not configured
	shared bool             // other keys, with other ignored tags, lead to the series too
}

// series finds or makes the series of a key that the cache may not know; nil
// if its metric is not configured.
func (g *Ingester) series(cluster string, raw []byte) (*memstore.Series, error) {
	if e, ok := g.cache.get(cluster, raw); ok {
		return e.series, nil
	}
	parsed, err := lineprotocol.ParseKey(raw)
	if err != nil {
		return nil, err
	}
	key, ignored, err := g.seriesKey(parsed, cluster)
	if err != nil {
		return nil, err
	}
	series, err := g.Store.Series(key)
	if err != nil && !errors.Is(err, memstore.ErrUnknownMetric) {
		return nil, err
	}
	g.cache.add(cluster, string(raw), series, ignored)
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

// get returns the entry of a key whose series is still in the store.
func (c *seriesCache) get(cluster string, raw []byte) (entry, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e := c.clusters[cluster][string(raw)]
	if e == nil || e.stale() {
		return entry{}, false
	}
	return *e, true
}

func (e *entry) stale() bool { return e.series != nil && e.series.Gone() }

// add makes or renews the entry of a key. ignored says that the key holds tags
// that do not count.
func (c *seriesCache) add(cluster, raw string, series *memstore.Series, ignored bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.clusters == nil || c.bytes > c.limit {
		c.clusters = make(map[string]map[string]*entry)
		c.spelled = make(map[*memstore.Series]*entry)
		c.bytes = 0
	}
	if c.clusters[cluster] == nil {
		c.clusters[strings.Clone(cluster)] = make(map[string]*entry)
	}
	e := c.clusters[cluster][raw]
	if e == nil {
		e = new(entry)
		c.clusters[cluster][raw] = e
		c.bytes += len(raw) + entryBytes
	}
	e.series = series
	if ignored && series != nil {
		c.spell(e)
	}
}

// spell notes that a key with ignored tags leads to e's series, and marks all
// of these once there are two.
func (c *seriesCache) spell(e *entry) {
	switch other := c.spelled[e.series]; other {
	case nil:
		c.spelled[e.series] = e
		c.bytes += entryBytes
	case e:
	default:
		e.shared, other.shared = true, true
	}
}
