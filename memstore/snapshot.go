package memstore

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Snapshot returns the state of each host while writes continue. The state of one host is
// consistent. A snapshot contains everything recorded before [Store.Snapshot], and possibly some of
// what is recorded later. It is for one goroutine.
type Snapshot struct {
	store     *Store
	freed     map[hostName]int // how many freed windows the states contain
	blocks    bool             // only sealed windows
	handedOut []handedOut
}

// handedOut is a block that was part of a state.
type handedOut struct {
	host    *host
	segment *segment
	block   *block.Block
}

// Snapshot starts a snapshot. No write and no Free may run during the call. Only one snapshot may
// exist at a time; it ends with Commit, or when the caller abandons it.
func (s *Store) Snapshot() *Snapshot {
	s.epoch.Add(1)
	return &Snapshot{store: s, freed: make(map[hostName]int)}
}

// UnstoredBlocks is a snapshot of the blocks that are in no committed snapshot, without open windows
// and freed ones, and without blocks that a freed window overlaps. It is committed like a snapshot, so
// that the blocks can be evicted.
func (s *Store) UnstoredBlocks() *Snapshot { return &Snapshot{store: s, blocks: true} }

// Clusters returns the names of the clusters with a host in the snapshot, sorted.
func (n *Snapshot) Clusters() []string {
	names := n.store.Clusters()
	for _, name := range n.store.freed.hosts() {
		names = append(names, name.cluster)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Hosts calls f for each host of a cluster, ordered by name, until f fails. A state has all series
// of the host, its open windows, and the blocks that are in no committed snapshot. f owns the
// state.
func (n *Snapshot) Hosts(cluster string, f func(HostState) error) error {
	names := n.store.Hosts(cluster)
	for _, name := range n.store.freed.hosts() {
		if name.cluster == cluster {
			names = append(names, name.host)
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		state := HostState{Cluster: cluster, Host: name}
		if h := n.store.host(cluster, name); h != nil {
			n.take(h, &state)
		} else {
			n.takeFreed(&state)
		}
		if err := f(state); err != nil {
			return err
		}
	}
	return nil
}

// Commit reports that all states of the snapshot are stored durably.
func (n *Snapshot) Commit() {
	for _, t := range n.handedOut {
		t.host.mu.Lock()
		t.segment.stored = t.segment.sealed == t.block
		t.host.mu.Unlock()
	}
	n.handedOut = nil
	for name, count := range n.freed {
		n.store.freed.forget(name, count)
	}
	clear(n.freed)
	n.store.memory.exhausted.Store(false)
	n.store.memory.storeFirst.Store(false)
}

// takeFreed adds the freed windows of a host to a state. A later block of the same time must not be
// in an earlier snapshot than they are, which would delete it: both are taken under the host's lock.
func (n *Snapshot) takeFreed(state *HostState) {
	if n.blocks {
		return
	}
	name := hostName{state.Cluster, state.Host}
	windows := n.store.freed.of(name)
	for _, w := range windows {
		w.addTo(state)
	}
	if len(windows) > 0 {
		n.freed[name] = len(windows)
	}
}

// take adds the series and windows of a host to a state. It encodes open windows without the lock.
func (n *Snapshot) take(h *host, state *HostState) {
	var open []sealing
	var lanes []int // of open
	h.mu.Lock()
	state.Number = h.number
	var freed []freedWindow
	if n.blocks {
		freed = n.store.freed.of(hostName{h.cluster, h.name})
	}
	for i, l := range h.lanes {
		ls := LaneState{Frequency: l.frequency, Grid: l.grid, Series: l.places()}
		for _, g := range l.segments {
			switch {
			case n.blocks && (g.sealed == nil || g.overlapsFreed(l, freed)):
			case g.sealed == nil:
				open, lanes = append(open, l.sealing(g, g.share())), append(lanes, i)
			case !g.stored:
				ls.Windows = append(ls.Windows, WindowState{Block: g.sealed})
				n.handedOut = append(n.handedOut, handedOut{h, g, g.sealed})
			}
		}
		state.Lanes = append(state.Lanes, ls)
	}
	n.takeFreed(state)
	h.mu.Unlock()
	w := n.store.sealers.get()
	defer n.store.sealers.put(w)
	for i, j := range open {
		if b := w.encode(j); b != nil {
			l := &state.Lanes[lanes[i]]
			l.Windows = append(l.Windows, WindowState{Block: b, Open: true})
		}
	}
	for _, l := range state.Lanes {
		slices.SortFunc(l.Windows, func(a, b WindowState) int { return cmp.Compare(a.Block.First, b.Block.First) })
	}
}

// places returns the places of the series of a lane.
func (l *lane) places() []SeriesState {
	all := make([]SeriesState, 0, len(l.columns))
	for _, sr := range l.columns {
		if sr == nil {
			continue
		}
		all = append(all, SeriesState{
			Column: sr.column,
			Metric: sr.metric.Name,
			Device: sr.level.device,
			Offset: sr.phase.offset,
			First:  sr.first,
			Last:   sr.last,
		})
	}
	return all
}

type hostName struct{ cluster, host string }

// freed lists deleted windows that older states may still hold, until a committed snapshot contains
// the list.
type freed struct {
	memory  *memAccount
	mu      sync.Mutex
	windows map[hostName][]freedWindow
}

type freedWindow struct {
	frequency, grid int64
	slots           SlotRange
}

// add adds a deleted window of a host; the host is locked.
func (f *freed) add(h *host, l *lane, g *segment) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.windows == nil {
		f.windows = make(map[hostName][]freedWindow)
	}
	name := hostName{h.cluster, h.name}
	f.windows[name] = append(f.windows[name], freedWindow{l.frequency, l.grid, SlotRange{g.first, g.slots}})
	f.memory.add(freedWindowBytes)
}

// addAll is add for several segments.
func (f *freed) addAll(h *host, l *lane, all []*segment) {
	for _, g := range all {
		f.add(h, l, g)
	}
}

// hosts returns the names of the hosts with windows.
func (f *freed) hosts() []hostName {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Collect(maps.Keys(f.windows))
}

// of returns the windows of a host, oldest deletion first. The slice must not be changed.
func (f *freed) of(name hostName) []freedWindow {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.windows[name]
}

// oldest returns the begin of a cluster's oldest window, in Unix milliseconds.
func (f *freed) oldest(cluster string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	oldest := int64(math.MaxInt64)
	for name, windows := range f.windows {
		if name.cluster != cluster {
			continue
		}
		for _, w := range windows {
			oldest = min(oldest, w.grid+w.slots.First*w.frequency-w.frequency/2)
		}
	}
	return oldest
}

// forget removes the first n windows of a host.
func (f *freed) forget(name hostName, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.windows[name] = slices.Clone(f.windows[name][n:]); len(f.windows[name]) == 0 {
		delete(f.windows, name)
	}
	f.memory.add(-freedWindowBytes * int64(n))
}

// overlapsFreed reports whether a segment of a lane overlaps one of its host's freed windows.
func (g *segment) overlapsFreed(l *lane, freed []freedWindow) bool {
	begin, end := l.time(g.first), l.time(g.end())
	return slices.ContainsFunc(freed, func(w freedWindow) bool {
		first := w.grid + w.slots.First*w.frequency
		return w.frequency == l.frequency && first < end && begin < first+int64(w.slots.Slots)*w.frequency
	})
}

func (w freedWindow) addTo(state *HostState) {
	i := slices.IndexFunc(state.Lanes, func(l LaneState) bool { return l.Frequency == w.frequency })
	if i < 0 {
		i = len(state.Lanes)
		state.Lanes = append(state.Lanes, LaneState{Frequency: w.frequency, Grid: w.grid})
	}
	l := &state.Lanes[i]
	if moved := w.grid - l.Grid; moved != 0 { // the host was removed and added again meanwhile; use the slots within the window
		w.slots.First += unixtime.FloorDiv(moved+w.frequency-1, w.frequency)
		w.slots.Slots--
	}
	l.Freed = append(l.Freed, w.slots)
}
