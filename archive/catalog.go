package archive

import (
	"cmp"
	"slices"

	"github.com/ringstore/ringstore/archive/blockfile"
)

// catalog lists the block files on disk and the entries in them that no newer file supersedes.
type catalog struct {
	files map[*file]struct{}
	lanes map[laneKey][]*entry // live ones, unordered

	entries   int           // with bases
	accounted int           // entries
	account   func(n int64) // adds bytes to the memory accounting; nil: nobody counts

	// archived reports whether samples of an entry are in Parquet files; nil: of none.
	archived func(*entry) bool
}

// file is a block file.
type file struct {
	path    string
	cluster string
	run     uint64
	live    int // entries that are not superseded, or are bases
	listed  manifestFile
	// unreadable says that a part could not be read at the start. The file stays until it can.
	unreadable bool
	// unindexed says that it is not known which blocks it has: nothing of it could be read.
	unindexed bool
}

type laneKey struct {
	cluster, host string
	frequency     int64 // milliseconds
}

// entry is a window in a file: a block or a freed range.
type entry struct {
	file       *file
	lane       laneKey
	begin, end int64 // Unix milliseconds
	freed      bool
	hostIndex  int // in the file
	laneIndex  int // in the host
	window     blockfile.WindowIndex

	// bases are superseded entries of which samples are in Parquet files: what they hold must not be
	// archived again.
	bases []*entry
}

// entryBytes is the average memory of an entry, with its place in the catalog.
const entryBytes = 288

// update updates the memory accounting.
func (c *catalog) update() {
	if n := c.entries - c.accounted; n != 0 && c.account != nil {
		c.account(int64(n) * entryBytes)
		c.accounted = c.entries
	}
}

func newCatalog() catalog {
	return catalog{files: make(map[*file]struct{}), lanes: make(map[laneKey][]*entry)}
}

// add adds a file. Its entries supersede overlapping entries of older files, and are superseded by
// those of newer ones.
func (c *catalog) add(f *file, hosts []blockfile.HostIndex) {
	c.files[f] = struct{}{}
	defer c.update()
	for i, h := range hosts {
		for k, l := range h.Lanes {
			lane := laneKey{h.Cluster, h.Host, l.Frequency}
			time := func(slot int64) int64 { return l.Grid + slot*l.Frequency }
			for _, r := range l.Freed {
				c.put(&entry{file: f, lane: lane, begin: time(r.First), end: time(r.First + int64(r.Slots)), freed: true})
			}
			for _, w := range l.Windows {
				c.put(&entry{file: f, lane: lane, begin: time(w.First), end: time(w.First + int64(w.Slots)), hostIndex: i, laneIndex: k, window: w})
			}
		}
	}
}

func (c *catalog) put(e *entry) {
	if c.hasNewer(e.lane, e.file.run, e.begin, e.end) {
		return
	}
	all := slices.DeleteFunc(c.lanes[e.lane], func(o *entry) bool {
		superseded := o.overlaps(e.begin, e.end) && o.file.run < e.file.run
		// A freed range goes only if e covers all of it: older files may hold the rest.
		superseded = superseded && (!o.freed || e.begin <= o.begin && o.end <= e.end)
		if superseded {
			e.bases = append(e.bases, o.bases...)
			o.bases = nil
			if !o.freed && c.archived != nil && c.archived(o) {
				e.bases = append(e.bases, o)
			} else {
				o.file.live--
				c.entries--
			}
		}
		return superseded
	})
	c.lanes[e.lane] = append(all, e)
	c.entries++
	e.file.live++
}

// hasNewer reports whether a file of a run after the given one has an entry that overlaps a time
// range (Unix milliseconds).
func (c *catalog) hasNewer(lane laneKey, run uint64, begin, end int64) bool {
	return slices.ContainsFunc(c.lanes[lane], func(o *entry) bool { return o.file.run > run && o.overlaps(begin, end) })
}

func (e *entry) overlaps(begin, end int64) bool { return e.begin < end && begin < e.end }

// drop removes the expired entries.
func (c *catalog) drop(expired func(*entry) bool) {
	defer c.update()
	for lane, all := range c.lanes {
		all = slices.DeleteFunc(all, func(e *entry) bool {
			if !expired(e) {
				return false
			}
			e.file.live--
			c.entries -= 1 + len(e.bases)
			for _, b := range e.bases {
				b.file.live--
			}
			return true
		})
		if len(all) == 0 {
			delete(c.lanes, lane)
		} else {
			c.lanes[lane] = all
		}
	}
}

// forget removes files that are gone, and returns the entries that only they had.
func (c *catalog) forget(gone map[*file]bool) (lost []*entry) {
	defer c.update()
	for lane, all := range c.lanes {
		all = slices.DeleteFunc(all, func(e *entry) bool {
			bases := len(e.bases)
			e.bases = slices.DeleteFunc(e.bases, func(b *entry) bool { return gone[b.file] })
			c.entries -= bases - len(e.bases)
			if !gone[e.file] {
				return false
			}
			c.entries -= 1 + len(e.bases)
			for _, b := range e.bases {
				b.file.live--
			}
			lost = append(lost, e)
			return true
		})
		if len(all) == 0 {
			delete(c.lanes, lane)
		} else {
			c.lanes[lane] = all
		}
	}
	for f := range gone {
		delete(c.files, f)
	}
	return lost
}

// blocks returns the live blocks, latest end first.
func (c *catalog) blocks() []*entry {
	var all []*entry
	for _, entries := range c.lanes {
		for _, e := range entries {
			if !e.freed {
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, laterFirst)
	return all
}

func laterFirst(a, b *entry) int {
	return cmp.Or(
		cmp.Compare(b.end, a.end),
		cmp.Compare(a.lane.cluster, b.lane.cluster),
		cmp.Compare(a.lane.host, b.lane.host),
		cmp.Compare(a.lane.frequency, b.lane.frequency),
	)
}
