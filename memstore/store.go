// Package memstore holds the samples in memory: the tree of clusters, hosts and devices, the time
// grid of their samples, and the queries over them.
//
// It depends on no transport, no tokens and no files. [Store.Write] stores samples, [Store.Read]
// answers queries, and Options.Now is the clock. For durability, package archive stores the records
// of [Store.WriteRecord] and the states of [Store.Snapshot], and restores them with
// [Store.Restore].
package memstore

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
	"github.com/ringstore/ringstore/memstore/guard"
)

// Options configure a store. Metrics and Retention are required.
type Options struct {
	Metrics   []Metric
	Retention time.Duration // how long samples are kept
	Limits    Limits        // zero fields mean the defaults

	// MemoryLimit is the memory budget in bytes, by the store's own accounting; 0 means no limit.
	// Near the limit, the oldest windows are evicted; beyond it, writes fail.
	MemoryLimit int64

	// Needed returns the time, in Unix milliseconds, since which running jobs need the samples of a
	// host, or [NotNeeded] if no job runs there; nil means that no job runs anywhere. Needed
	// windows stay beyond the retention and are evicted last. Needed is called for every host every
	// few seconds, without a lock held, and must return at once.
	Needed func(cluster, host string) int64

	// KeepUnstored keeps windows beyond the retention until a snapshot that contains them has been
	// committed.
	KeepUnstored bool

	Now func() time.Time // the server's clock, by which samples are accepted; nil means time.Now

	// Guard is the clock by which samples are deleted; nil means Now.
	Guard *guard.Clock
}

// NotNeeded is later than any time.
const NotNeeded = math.MaxInt64

// Metric is one entry of the configuration's metrics section.
type Metric struct {
	Name        string
	Frequency   time.Duration // time between two slots, a whole number of seconds
	Aggregation Aggregation
	Precision   int // significant bits that samples are rounded to, as codec.Round does; 0 keeps all
}

// Aggregation says how a query for a host combines the series of its devices.
type Aggregation uint8

// The aggregations of the configuration: null, "sum" and "avg".
const (
	AggregateNone Aggregation = iota
	AggregateSum
	AggregateAvg
)

// Limits bound how many hosts, devices and names senders can add.
type Limits struct {
	Hosts          int // in all clusters together; default 20,000
	Clusters       int // beside those that ByCluster names; default 64
	DevicesPerHost int // default 16,384
	NameBytes      int // of a cluster, host, type, or id; default 256

	ByCluster map[string]ClusterLimits // by name; those of [AnyCluster] hold for every other cluster
}

// Store holds the samples of all clusters. Its methods are safe for concurrent use.
type Store struct {
	metrics      map[string]*metric
	retention    int64 // milliseconds
	limits       Limits
	needed       func(cluster, host string) int64
	keep         bool // windows that are not stored
	now          func() time.Time
	guard        *guard.Clock // nil: now
	expired      atomic.Int64 // see [Store.SkipExpired]
	memory       memAccount
	epoch        atomic.Int64 // counts snapshots
	departed     atomic.Int64 // counts series that are gone
	freed        freed
	unconfigured unconfigured
	naive        bool        // queries use no aggregates; for tests
	restoring    atomic.Bool // series without samples may still get their windows
	sealers      sealers
	readers      sync.Pool // of *reader
	spare        spareRows
	stripes      stripes
	settled      settled

	mu       sync.RWMutex // guards the maps; taken before a host's lock
	clusters map[string]*cluster
	hosts    int

	lastNumber uint32 // of a host

	skipped map[string]int64 // by cluster; see SkipCluster
}

// metric is a configured metric with its place in the order of all metrics.
type metric struct {
	Metric
	index     int
	frequency int64 // milliseconds

	// former has the same metric at the frequencies that it had before; nil: none. Its series hold
	// what was stored then.
	former atomic.Pointer[[]*metric]
}

// formerly returns the same metric at the frequencies that it had before.
func (m *metric) formerly() []*metric {
	if all := m.former.Load(); all != nil {
		return *all
	}
	return nil
}

// New returns an empty store. The error names the invalid option.
func New(o Options) (*Store, error) {
	if o.Retention <= 0 {
		return nil, fmt.Errorf("memstore: retention: expected a positive duration, got %v", o.Retention)
	}
	s := &Store{
		metrics:   make(map[string]*metric, len(o.Metrics)),
		retention: o.Retention.Milliseconds(),
		limits:    o.Limits.orDefaults(),
		needed:    o.Needed,
		keep:      o.KeepUnstored,
		now:       o.Now,
		guard:     o.Guard,
		memory:    memAccount{limit: o.MemoryLimit},
		sealers:   newSealers(),
		readers:   newReaders(),
		clusters:  make(map[string]*cluster),
	}
	s.expired.Store(minTime)
	s.freed.memory = &s.memory
	if s.now == nil {
		s.now = time.Now
	}
	if s.needed == nil {
		s.needed = func(string, string) int64 { return NotNeeded }
	}
	for i, m := range o.Metrics {
		if m.Frequency < time.Second || m.Frequency%time.Second != 0 {
			return nil, fmt.Errorf("memstore: metric %q: frequency: expected a whole number of seconds, got %v", m.Name, m.Frequency)
		}
		if m.Precision < 0 || m.Precision > 52 {
			return nil, fmt.Errorf("memstore: metric %q: precision: expected 0 to 52 bits, got %d", m.Name, m.Precision)
		}
		if s.metrics[m.Name] != nil {
			return nil, fmt.Errorf("memstore: metric %q is configured twice", m.Name)
		}
		s.metrics[m.Name] = &metric{Metric: m, index: i, frequency: m.Frequency.Milliseconds()}
	}
	return s, nil
}

func (l Limits) orDefaults() Limits {
	if l.Hosts == 0 {
		l.Hosts = 20_000
	}
	if l.Clusters == 0 {
		l.Clusters = 64
	}
	if l.DevicesPerHost == 0 {
		l.DevicesPerHost = 16_384
	}
	if l.NameBytes == 0 {
		l.NameBytes = 256
	}
	return l
}

// Clusters returns the names of the clusters that hold a host, sorted.
func (s *Store) Clusters() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.clusters))
}

// Hosts returns the names of a cluster's hosts, sorted.
func (s *Store) Hosts(cluster string) []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Sorted(maps.Keys(s.clusters[cluster].all()))
}

// cluster returns a cluster, nil if it holds no host.
func (s *Store) cluster(name string) *cluster {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clusters[name]
}

func (s *Store) host(cluster, name string) *host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clusters[cluster].all()[name]
}

// allHosts returns every host, ordered by cluster and name.
func (s *Store) allHosts() []*host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*host, 0, s.hosts)
	for _, cluster := range slices.Sorted(maps.Keys(s.clusters)) {
		hosts := s.clusters[cluster].hosts
		for _, name := range slices.Sorted(maps.Keys(hosts)) {
			all = append(all, hosts[name])
		}
	}
	return all
}

// Size is how much a store holds.
type Size struct {
	Hosts, Series int
	Blocks        int
	BlockBytes    int64 // of sealed blocks, with their directories and aggregates
	BlockValues   int64 // samples in the blocks

	Aggregates     int   // sums of several series that blocks keep
	AggregateBytes int64 // of BlockBytes
	Bytes          int64 // of everything, by the store's memory accounting
	Limit          int64 // of Bytes; 0 means none
	Evicted        int64 // windows evicted since the start
}

// Size counts what the store holds. A block's samples are counted once, from the headers of its
// columns. Of a damaged block only the columns before the damage count.
func (s *Store) Size() Size {
	n := Size{Bytes: s.memory.used.Load(), Limit: s.memory.limit, Evicted: s.memory.evicted.Load()}
	var blocks []*block.Block // of a host
	var d codec.Decoder
	for _, h := range s.allHosts() {
		blocks = blocks[:0]
		h.mu.RLock()
		n.Hosts++
		for _, l := range h.lanes {
			n.Series += len(l.columns) - len(l.free)
			for _, g := range l.segments {
				if g.sealed != nil {
					blocks = append(blocks, g.sealed)
				}
			}
		}
		h.mu.RUnlock()
		n.Blocks += len(blocks)
		for _, b := range blocks {
			values, _ := b.Values(&d)
			n.BlockBytes += int64(len(b.Bytes()))
			n.BlockValues += values
			n.Aggregates += b.Aggregates()
			n.AggregateBytes += int64(b.AggregateBytes())
		}
	}
	return n
}

// Values counts the samples that the store holds. It reads the statistics of every block, which
// takes a while. The error reports damaged blocks.
func (s *Store) Values() (n int64, err error) {
	var d codec.Decoder
	for _, h := range s.allHosts() {
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				count, damage := g.values(&d)
				n, err = n+count, errors.Join(err, damage)
			}
		}
		h.mu.RUnlock()
	}
	return n, err
}

// Departed counts the series for which [Series.Gone] has become true since the start.
func (s *Store) Departed() int64 { return s.departed.Load() }

// Evicted returns how many windows were evicted since the start. Unlike Size it is cheap.
func (s *Store) Evicted() int64 { return s.memory.evicted.Load() }

// Errors of lookups; compare them with [errors.Is].
var (
	// ErrNotFound: no series matches.
	ErrNotFound = errors.New("no such host, device or metric")
	// ErrUnknownMetric: the metric is not in the configuration.
	ErrUnknownMetric = errors.New("unknown metric")
	// ErrLimit: a new host or device would exceed the limits.
	ErrLimit = errors.New("limit reached")
	// ErrName: the name is not allowed.
	ErrName = errors.New("bad name")
)
