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
	Keep         time.Duration    // how long a job is kept after its end
	MaxStaleness time.Duration    // how long the event source may be silent; default 10 min
	MaxIntervals int              // maximum number of pairs of a job and a host; default 8 million
	Now          func() time.Time // nil means time.Now
}

// maxClusters is the maximum number of cluster names.
const maxClusters = 1000

// ErrFull is returned when the index has reached its maximum size.
var ErrFull = errors.New("the job index is full")

// Index holds jobs. Its methods may be called by many goroutines.
type Index struct {
	o    Options
	seed maphash.Seed

	write sync.Mutex // held by whatever changes the index; locked before mu
	mu    sync.RWMutex
	t     *tables

	projects map[string][]string // by job user; see SetProjects

	lastPoll int64 // Unix seconds; see LastPoll
	aliveAt  int64 // Unix seconds; see EventsAliveAt
	changes  int64
	ignored  int64 // see IgnoredStops
}

// tables hold the jobs. Entries are never removed: [Index.Prune] copies the jobs that stay to new
// tables.
type tables struct {
	names      []string
	nameIDs    map[string]uint32
	clusters   []string
	clusterIDs map[string]uint16
	hosts      []hostName
	hostIDs    map[hostName]uint32
	devices    []*Devices // number 0 is nil, the whole host
	deviceID   map[string]uint32

	jobs  []job
	byKey map[uint64]uint32     // by the hash of the key; the newest job of each key
	open  map[uint32]struct{}   // jobs that are not known to have ended
	runs  map[runID][]uint32    // the open jobs by id; several if a requeued job's end is not known
	live  map[uint32][]interval // by host; of open jobs that events have reported

	users     map[uint32]*owned              // by name
	projects  map[uint32]map[uint32]struct{} // the users who have jobs in it
	intervals int
}

type hostName struct {
	cluster uint16
	name    uint32
}

// runID is what all runs of a requeued job share.
type runID struct {
	cluster uint16
	id      int64
}

// job is a [Job] in 32 bytes. Its nodes are in the intervals of its user.
type job struct {
	id            int64
	start         uint32
	end           uint32 // of an open job: when it was last seen running
	user, project uint32
	fingerprint   uint32
	cluster       uint16
	flags         flags
}

type flags uint8

const (
	open       flags = 1 << iota // the end is not known, or not confirmed
	live                         // open until an event ends it: only set with open
	superseded                   // ended by a later job, at end or before: only set with open
	replaced                     // a later report with the same key has other contents
)

// owned holds the intervals of a user, sorted by host and job.
type owned struct{ intervals []interval }

// interval is the time of a job on a host.
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

// lock locks the index for a change.
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
		byKey: make(map[uint64]uint32), open: make(map[uint32]struct{}), runs: make(map[runID][]uint32),
		live:  make(map[uint32][]interval),
		users: make(map[uint32]*owned), projects: make(map[uint32]map[uint32]struct{}),
	}
}

func (t *tables) name(s string) uint32    { return number(s, &t.names, t.nameIDs) }
func (t *tables) cluster(s string) uint16 { return number(s, &t.clusters, t.clusterIDs) }
func (t *tables) host(h hostName) uint32  { return number(h, &t.hosts, t.hostIDs) }

// number returns the index of v in a list. It appends v if the list does not have it yet.
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

// find returns the index of a job in tables.jobs.
func (ix *Index) find(k Key) (at uint32, known bool) {
	at, ok := ix.t.byKey[k.hash(ix.seed)]
	return at, ok && ix.t.key(&ix.t.jobs[at]) == k
}

// clashes reports whether another key in the index has the same hash. With 64 bits that is very
// unlikely; the new job is then left out.
func (ix *Index) clashes(k Key) bool {
	at, ok := ix.t.byKey[k.hash(ix.seed)]
	return ok && ix.t.key(&ix.t.jobs[at]) != k
}

// add adds a new job, or a job that replaces another one with the same key. It completes row.
func (t *tables) add(seed maphash.Seed, j *Job, row job) uint32 {
	row.id, row.cluster, row.start = j.ID, t.cluster(j.Cluster), uint32(j.Start)
	row.user, row.project = t.name(j.User), t.name(j.Project)
	at := uint32(len(t.jobs))
	t.jobs = append(t.jobs, row)
	t.byKey[j.Key().hash(seed)] = at
	t.updateOpen(at)
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

// updateOpen updates the sets of open jobs after the flags of a job have changed.
func (t *tables) updateOpen(at uint32) {
	j := &t.jobs[at]
	run := runID{j.cluster, j.id}
	_, was := t.open[at]
	switch is := j.flags&(open|replaced) == open; {
	case is == was:
	case is:
		t.open[at] = struct{}{}
		t.runs[run] = append(t.runs[run], at)
	default:
		delete(t.open, at)
		t.runs[run] = slices.DeleteFunc(t.runs[run], func(other uint32) bool { return other == at })
		if len(t.runs[run]) == 0 {
			delete(t.runs, run)
		}
	}
}

func (a interval) compare(b interval) int {
	return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.job, b.job))
}

// all iterates over all jobs, replaced ones included. The yielded values are valid until the next
// iteration.
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

// sortFrom sorts the intervals, of which the first n are sorted already.
func (u *owned) sortFrom(n int) {
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

// on returns the user's intervals on a host.
func (u *owned) on(host uint32) []interval {
	begin, _ := slices.BinarySearchFunc(u.intervals, host, func(i interval, host uint32) int { return cmp.Compare(i.host, host) })
	end := begin
	for end < len(u.intervals) && u.intervals[end].host == host {
		end++
	}
	return u.intervals[begin:end]
}

// Size counts the jobs, the open jobs, and the pairs of a job and a host in an index.
type Size struct{ Jobs, Open, Intervals int }

// Size returns the size of the index.
func (ix *Index) Size() Size {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return Size{Jobs: len(ix.t.byKey), Open: len(ix.t.open), Intervals: ix.t.intervals}
}

// Changes returns a counter that grows with every change, so that a caller knows whether to save
// the index.
func (ix *Index) Changes() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.changes
}

// checkFull returns [ErrFull] if there is no room for a job on so many hosts.
func (ix *Index) checkFull(hosts int) error {
	if ix.t.intervals+hosts > ix.o.MaxIntervals || len(ix.t.names)+hosts > ix.o.MaxIntervals || len(ix.t.clusters) > maxClusters {
		return fmt.Errorf("%w: it has %d intervals", ErrFull, ix.t.intervals)
	}
	return nil
}

// Prune removes the jobs that ended longer than Options.Keep ago, once they are more than an eighth
// of all jobs.
func (ix *Index) Prune() {
	ix.write.Lock()
	defer ix.write.Unlock()
	before := ix.o.Now().Add(-ix.o.Keep).Unix()
	at := ix.present()
	stays := func(j *job) bool { return j.flags&replaced == 0 && at.endOf(j) >= before }
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
			t.add(ix.seed, j, job{end: row.end, fingerprint: row.fingerprint, flags: row.flags})
		}
	}
	for _, u := range t.users {
		u.sortFrom(0)
		u.intervals = slices.Clip(u.intervals)
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.t = t
	ix.changes++
}
