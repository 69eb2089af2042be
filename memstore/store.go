// Package memstore is the store: the tree of clusters, hosts and devices, the
// grid that their samples fall on, and the queries over it.
//
// It knows nobody above it: no HTTP, no tokens, no files. Time comes from an
// injected clock, samples come in by [Store.Write], answers leave by
// [Store.Read]. Package archive keeps what [Store.WriteRecord] recorded and
// [Store.Snapshot] took, and brings it back by [Replay] and [Store.Restore].
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
)

// Options say what a store holds. Metrics and Retention are required.
type Options struct {
	Metrics   []Metric
	Retention time.Duration // how long samples are kept, by the clock
	Limits    Limits        // zero fields mean the defaults

	// MemoryLimit bounds what the store holds, in bytes by its own books; 0
	// means no bound. Near it the oldest windows go, beyond it writes fail.
	MemoryLimit int64

	// Needed returns the moment, in Unix milliseconds, from which on running jobs
	// need what a host holds: those windows stay past the retention, and go after
	// all others for want of memory. [NotNeeded] if no job runs there, which is
	// what a nil Needed says of every host. It is asked for every host every few
	// seconds, with no lock held, and has to answer at once.
	Needed func(cluster, host string) int64

	// KeepUnstored keeps windows past the retention until a snapshot with them has
	// been settled: whoever takes snapshots wants all windows.
	KeepUnstored bool

	Now func() time.Time // the server's clock; nil means time.Now
}

// NotNeeded is a moment after all others.
const NotNeeded = math.MaxInt64

// Metric is one entry of the configuration's metrics section.
type Metric struct {
	Name        string
	Frequency   time.Duration // distance of two slots, a whole number of seconds
	Aggregation Aggregation
	Precision   int // significant bits that samples are rounded to, as codec.Round does; 0 keeps all
}

// Aggregation says how the devices of a host are put together when a query
// asks for the host.
type Aggregation uint8

// The aggregations of the configuration: null, "sum" and "avg".
const (
	AggregateNone Aggregation = iota
	AggregateSum
	AggregateAvg
)

// Limits bound what names from outside can make the store hold.
type Limits struct {
	Hosts          int // in all clusters together; default 20,000
	DevicesPerHost int // default 16,384
	NameBytes      int // of a cluster, host, type, or id; default 256
}

// Store holds the samples of all clusters. Its methods may be called by any
// number of goroutines.
type Store struct {
	metrics   map[string]*metric
	retention int64 // milliseconds
	limits    Limits
	needed    func(cluster, host string) int64
	keep      bool // windows that are not stored
	now       func() time.Time
	books     books
	epoch     atomic.Int64 // counts snapshots
	freed     freed
	strays    strays
	restoring atomic.Bool // series may still get their windows back
	sealers   sealers
	readers   sync.Pool // of *reader
	spare     spareRows

	mu       sync.RWMutex // guards the maps; taken before a host's lock
	clusters map[string]map[string]*host
	hosts    int

	lastNumber uint32 // of a host
}

// metric is a configured metric with its place in the order of all metrics.
type metric struct {
	Metric
	index     int
	frequency int64 // milliseconds
}

// New returns an empty store. The error says which option cannot be.
func New(o Options) (*Store, error) {
	if o.Retention <= 0 {
		return nil, fmt.Errorf("memstore: retention %v is not positive", o.Retention)
	}
	s := &Store{
		metrics:   make(map[string]*metric, len(o.Metrics)),
		retention: o.Retention.Milliseconds(),
		limits:    o.Limits.orDefaults(),
		needed:    o.Needed,
		keep:      o.KeepUnstored,
		now:       o.Now,
		books:     books{limit: o.MemoryLimit},
		sealers:   newSealers(),
		readers:   newReaders(),
		clusters:  make(map[string]map[string]*host),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.needed == nil {
		s.needed = func(string, string) int64 { return NotNeeded }
	}
	for i, m := range o.Metrics {
		if m.Frequency < time.Second || m.Frequency%time.Second != 0 {
			return nil, fmt.Errorf("memstore: metric %q: frequency %v is not a whole number of seconds", m.Name, m.Frequency)
		}
		if m.Precision < 0 || m.Precision > 52 {
			return nil, fmt.Errorf("memstore: metric %q: a precision of %d bits", m.Name, m.Precision)
		}
		if s.metrics[m.Name] != nil {
			return nil, fmt.Errorf("memstore: metric %q is there twice", m.Name)
		}
		s.metrics[m.Name] = &metric{Metric: m, index: i, frequency: m.Frequency.Milliseconds()}
	}
	return s, nil
}

func (l Limits) orDefaults() Limits {
	if l.Hosts == 0 {
		l.Hosts = 20_000
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
	return slices.Sorted(maps.Keys(s.clusters[cluster]))
}

func (s *Store) host(cluster, name string) *host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.clusters[cluster][name]
}

// allHosts returns every host, in the order of their names.
func (s *Store) allHosts() []*host {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*host, 0, s.hosts)
	for _, cluster := range slices.Sorted(maps.Keys(s.clusters)) {
		hosts := s.clusters[cluster]
		for _, name := range slices.Sorted(maps.Keys(hosts)) {
			all = append(all, hosts[name])
		}
	}
	return all
}

// Size is what a store holds at a moment.
type Size struct {
	Hosts, Series int
	Blocks        int
	BlockBytes    int64 // of sealed blocks, all included
	BlockValues   int64 // samples in these
	Bytes         int64 // of all that the store keeps, by its books
	Limit         int64 // of these bytes; 0 means none
	Evicted       int64 // windows that went for want of memory, since the start
}

// Size counts what the store holds. The samples of a block are counted the first
// time that it is there, by the heads of its columns; one that cannot be read has
// those before its damage.
func (s *Store) Size() Size {
	n := Size{Bytes: s.books.used.Load(), Limit: s.books.limit, Evicted: s.books.evicted.Load()}
	var blocks []*block.Block // of a host
	var d codec.Decoder
	for _, h := range s.allHosts() {
		blocks = blocks[:0]
		h.mu.RLock()
		n.Hosts++
		for _, l := range h.lanes {
			n.Series += len(l.columns) - len(l.vacant)
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
		}
	}
	return n
}

// Values counts the samples that the store holds, by the statistics of the
// blocks: that takes a while. The error tells of a block that cannot be read.
func (s *Store) Values() (n int64, err error) {
	var d codec.Decoder
	for _, h := range s.allHosts() {
		h.mu.RLock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				here, bad := g.values(&d)
				n, err = n+here, errors.Join(err, bad)
			}
		}
		h.mu.RUnlock()
	}
	return n, err
}

// Evicted returns how many windows went for want of memory, since the start. It
// costs nothing, which Size does.
func (s *Store) Evicted() int64 { return s.books.evicted.Load() }

// Retention returns how long samples are kept.
func (s *Store) Retention() time.Duration { return time.Duration(s.retention) * time.Millisecond }

// Errors of lookups; compare with errors.Is.
var (
	// ErrNotFound: no series is at the place that was asked for.
	ErrNotFound = errors.New("no such host, device or metric")
	// ErrUnknownMetric: the metric is not in the configuration.
	ErrUnknownMetric = errors.New("unknown metric")
	// ErrLimit: a host or device more than the limits allow.
	ErrLimit = errors.New("limit reached")
	// ErrName: a name that may not be stored.
	ErrName = errors.New("bad name")
)
