package archive

import (
	"cmp"
	"slices"

	"github.com/ringstore/ringstore/archive/blockfile"
)

// catalog knows the files of blocks on disk, and which of what they hold is not
// superseded by a newer file.
type catalog struct {
	files map[*file]struct{}
	lanes map[laneName][]*entry // that are live, in no order
}

// file is a file of blocks.
type file struct {
	path    string
	cluster string
	run     uint64
	live    int // entries
}

type laneName struct {
	cluster, host string
	frequency     int64 // milliseconds
}

// entry is a window in a file: a block, or nothing if that was freed.
type entry struct {
	file       *file
	lane       laneName
	begin, end int64 // Unix milliseconds
	freed      bool
	host       int // in the file
	inHost     int // the lane, in the host
	window     blockfile.WindowIndex
}

func newCatalog() catalog {
	return catalog{files: make(map[*file]struct{}), lanes: make(map[laneName][]*entry)}
}

// add adds a file. What it holds supersedes what older files hold of the same
// time, and is superseded by newer ones.
func (c *catalog) add(f *file, hosts []blockfile.HostIndex) {
	c.files[f] = struct{}{}
	for i, h := range hosts {
		for k, l := range h.Lanes {
			lane := laneName{h.Cluster, h.Host, l.Frequency}
			time := func(slot int64) int64 { return l.Grid + slot*l.Frequency }
			for _, r := range l.Freed {
				c.put(&entry{file: f, lane: lane, begin: time(r.First), end: time(r.First + int64(r.Slots)), freed: true})
			}
			for _, w := range l.Windows {
				c.put(&entry{file: f, lane: lane, begin: time(w.First), end: time(w.First + int64(w.Slots)), host: i, inHost: k, window: w})
			}
		}
	}
}

func (c *catalog) put(e *entry) {
	if c.newer(e.lane, e.file.run, e.begin, e.end) {
		return
	}
	all := slices.DeleteFunc(c.lanes[e.lane], func(o *entry) bool {
		old := o.overlaps(e.begin, e.end) && o.file.run < e.file.run
		// What was freed stays so where e says nothing: older files may have it.
		old = old && (!o.freed || e.begin <= o.begin && o.end <= e.end)
		if old {
			o.file.live--
		}
		return old
	})
	c.lanes[e.lane] = append(all, e)
	e.file.live++
}

// newer reports whether a file of a later run than run has some of a time.
func (c *catalog) newer(lane laneName, run uint64, begin, end int64) bool {
	return slices.ContainsFunc(c.lanes[lane], func(o *entry) bool { return o.file.run > run && o.overlaps(begin, end) })
}

func (e *entry) overlaps(begin, end int64) bool { return e.begin < end && begin < e.end }

// drop forgets entries.
func (c *catalog) drop(over func(*entry) bool) {
	for lane, all := range c.lanes {
		all = slices.DeleteFunc(all, func(e *entry) bool {
			if !over(e) {
				return false
			}
			e.file.live--
			return true
		})
		if len(all) == 0 {
			delete(c.lanes, lane)
		} else {
			c.lanes[lane] = all
		}
	}
}

// blocks returns the live blocks, the latest first.
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
