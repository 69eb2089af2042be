package jobs

import (
	"cmp"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"
)

// Options of an [Index]. Keep is required.
type Options struct {
	Keep         time.Duration // how long a job is kept after its end
	MaxStaleness time.Duration // for how long events may be silent; default 10 min
	MaxIntervals int           // of jobs on nodes; default 8 million
	Now          func() time.Time
}

// maxClusters bounds what a source can call a cluster.
const maxClusters = 1000

// ErrFull says that the index holds as much as it may.
var ErrFull = errors.New("the index of jobs is full")

// Index holds jobs. Its methods may be called by many goroutines.
type Index struct {
	o    Options
	seed maphash.Seed

	write sync.Mutex // of who changes something; taken before mu
	mu    sync.RWMutex
	t     *tables

	polled  int64 // Unix seconds: when cc-backend was last asked and told all
	alive   int64 // Unix seconds: when the source of events was last known to work
	changes int64
}

// tables are what is known. What leaves is left behind when all that stays moves
// to new ones.
type tables struct {
	names      []string
	nameIDs    map[string]uint32
	clusters   []string
	clusterIDs map[string]uint16
	hosts      []hostName
	hostIDs    map[hostName]uint32
	devices    []*Devices // 0: the whole node
	deviceID   map[string]uint32

	jobs  []job
	byKey map[uint64]uint32     // by a hash of what tells them apart, the newest of each
	open  map[uint32]struct{}   // jobs not known to be over
	live  map[uint32][]interval // by host, of those that only events keep open, or did

	users     map[uint32]*owned              // by name
	projects  map[uint32]map[uint32]struct{} // the users who have jobs in it
	intervals int
}

type hostName struct {
	cluster uint16
	name    uint32
}

// job is a [Job] without its nodes, which are with its user, in 32 bytes.
type job struct {
	id            int64
	start         uint32
	end           uint32 // of an open one: when it was last seen running
	user, project uint32
	print         uint32
	cluster       uint16
	flags         flags
}

type flags uint8

const (
	open  flags = 1 << iota
	live        // by events, and those tell of its end
	moved       // another job has taken its place
)

// owned are the intervals of a user, by host.
type owned struct{ intervals []interval }

type interval struct{ host, job, devices uint32 }

// New returns an empty index.
func New(o Options) *Index {
	if o.MaxStaleness <= 0 {
		o.MaxStaleness = 10 * time.Minute
	}
	if o.MaxIntervals <= 0 {
		o.MaxIntervals = 8 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Index{o: o, seed: maphash.MakeSeed(), t: newTables()}
}

// lock is for who changes something, and returns what gives it back.
func (ix *Index) lock() (unlock func()) {
	ix.write.Lock()
	ix.mu.Lock()
	return func() {
		ix.mu.Unlock()
		ix.write.Unlock()
	}
}

func newTables() *tables {
	return &tables{
		nameIDs: make(map[string]uint32), clusterIDs: make(map[string]uint16), hostIDs: make(map[hostName]uint32),
		devices: []*Devices{nil}, deviceID: make(map[string]uint32),
		byKey: make(map[uint64]uint32), open: make(map[uint32]struct{}), live: make(map[uint32][]interval),
		users: make(map[uint32]*owned), projects: make(map[uint32]map[uint32]struct{}),
	}
}

func (t *tables) name(s string) uint32    { return number(s, &t.names, t.nameIDs) }
func (t *tables) cluster(s string) uint16 { return number(s, &t.clusters, t.clusterIDs) }
func (t *tables) host(h hostName) uint32  { return number(h, &t.hosts, t.hostIDs) }

// number returns where something is in a list, at the end of which it is put if
// it is not there yet.
func number[T comparable, N uint16 | uint32](v T, list *[]T, ids map[T]N) N {
	n, ok := ids[v]
	if !ok {
		n = N(len(*list))
		*list, ids[v] = append(*list, v), n
	}
	return n
}

func (t *tables) device(d *Devices) uint32 {
	if d == nil {
		return 0
	}
	text := d.text()
	id, ok := t.deviceID[text]
	if !ok {
		id = uint32(len(t.devices))
		t.devices, t.deviceID[text] = append(t.devices, d), id
	}
	return id
}

func (k Key) hash(seed maphash.Seed) uint64 { return maphash.Comparable(seed, k) }

func (t *tables) key(row *job) Key { return Key{t.clusters[row.cluster], row.id, int64(row.start)} }

// find returns where a job is.
func (ix *Index) find(k Key) (at uint32, known bool) {
	at, ok := ix.t.byKey[k.hash(ix.seed)]
	return at, ok && ix.t.key(&ix.t.jobs[at]) == k
}

// clashes reports that another job has the hash of this one. That is one in a
// million times a million million: it is left out then.
func (ix *Index) clashes(k Key) bool {
	at, ok := ix.t.byKey[k.hash(ix.seed)]
	return ok && ix.t.key(&ix.t.jobs[at]) != k
}

// add puts a job in that has no place yet, or that another had.
func (t *tables) add(seed maphash.Seed, j *Job, row job) uint32 {
	row.id, row.cluster, row.start = j.ID, t.cluster(j.Cluster), uint32(j.Start)
	row.user, row.project = t.name(j.User), t.name(j.Project)
	at := uint32(len(t.jobs))
	t.jobs = append(t.jobs, row)
	t.byKey[j.Key().hash(seed)] = at
	t.mark(at)
	if t.projects[row.project] == nil {
		t.projects[row.project] = make(map[uint32]struct{})
	}
	t.projects[row.project][row.user] = struct{}{}
	if t.users[row.user] == nil {
		t.users[row.user] = new(owned)
	}
	u := t.users[row.user]
	u.intervals = slices.Grow(u.intervals, len(j.Nodes))
	for _, n := range j.Nodes {
		host := t.host(hostName{row.cluster, t.name(n.Host)})
		i := interval{host, at, t.device(n.Devices)}
		u.intervals = append(u.intervals, i)
		if row.flags&live != 0 {
			t.live[host] = append(t.live[host], i)
		}
	}
	t.intervals += len(j.Nodes)
	return at
}

// mark keeps the set of open jobs.
func (t *tables) mark(at uint32) {
	if t.jobs[at].flags&(open|moved) == open {
		t.open[at] = struct{}{}
	} else {
		delete(t.open, at)
	}
}

func (a interval) compare(b interval) int {
	return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.job, b.job))
}

// all walks the jobs, those that others took the place of included, and their
// rows. What it yields is valid until the next one.
func (t *tables) all() iter.Seq2[*Job, *job] {
	return func(yield func(*Job, *job) bool) {
		var intervals []interval
		var j Job
		for _, user := range slices.Sorted(maps.Keys(t.users)) {
			intervals = append(intervals[:0], t.users[user].intervals...)
			slices.SortFunc(intervals, func(a, b interval) int { return cmp.Or(cmp.Compare(a.job, b.job), cmp.Compare(a.host, b.host)) })
			for len(intervals) > 0 {
				row := &t.jobs[intervals[0].job]
				nodes := j.Nodes[:0]
				j = t.job(row)
				n := 0
				for n < len(intervals) && intervals[n].job == intervals[0].job {
					nodes = append(nodes, t.node(intervals[n]))
					n++
				}
				j.Nodes, intervals = nodes, intervals[n:]
				if !yield(&j, row) {
					return
				}
			}
		}
	}
}

// order puts the intervals that were appended since n where they belong.
func (u *owned) order(n int) {
	fresh := slices.Clone(u.intervals[n:])
	slices.SortFunc(fresh, interval.compare)
	old := u.intervals[:n]
	for i := len(u.intervals) - 1; len(fresh) > 0; i-- {
		last := len(fresh) - 1
		if n := len(old); n > 0 && old[n-1].compare(fresh[last]) > 0 {
			u.intervals[i], old = old[n-1], old[:n-1]
			continue
		}
		u.intervals[i], fresh = fresh[last], fresh[:last]
	}
}

// on returns the intervals on a host.
func (u *owned) on(host uint32) []interval {
	begin, _ := slices.BinarySearchFunc(u.intervals, host, func(i interval, host uint32) int { return cmp.Compare(i.host, host) })
	end := begin
	for end < len(u.intervals) && u.intervals[end].host == host {
		end++
	}
	return u.intervals[begin:end]
}

// Size is what an index holds.
type Size struct{ Jobs, Open, Intervals int }

// Size counts.
func (ix *Index) Size() Size {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return Size{Jobs: len(ix.t.byKey), Open: len(ix.t.open), Intervals: ix.t.intervals}
}

// Changes counts what has changed, so that it can be told what is not saved.
func (ix *Index) Changes() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.changes
}

func (ix *Index) full(more int) error {
	if ix.t.intervals+more > ix.o.MaxIntervals || len(ix.t.names)+more > ix.o.MaxIntervals || len(ix.t.clusters) > maxClusters {
		return fmt.Errorf("%w: %d intervals", ErrFull, ix.t.intervals)
	}
	return nil
}

// Prune forgets the jobs that ended too long ago, when there are enough of these
// to be worth it.
func (ix *Index) Prune() {
	ix.write.Lock()
	defer ix.write.Unlock()
	before := ix.o.Now().Add(-ix.o.Keep).Unix()
	at := ix.moment()
	stays := func(j *job) bool { return j.flags&moved == 0 && at.end(j) >= before }
	gone := 0
	for i := range ix.t.jobs {
		if !stays(&ix.t.jobs[i]) {
			gone++
		}
	}
	if gone <= len(ix.t.jobs)/8 {
		return
	}
	t := newTables()
	t.jobs = make([]job, 0, len(ix.t.jobs)-gone)
	t.byKey = make(map[uint64]uint32, len(ix.t.jobs)-gone)
	for j, row := range ix.t.all() {
		if stays(row) {
			t.add(ix.seed, j, job{end: row.end, print: row.print, flags: row.flags})
		}
	}
	for _, u := range t.users {
		u.order(0)
		u.intervals = slices.Clip(u.intervals)
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.t = t
	ix.changes++
}
