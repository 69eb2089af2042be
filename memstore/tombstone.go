package memstore

import (
	"encoding/binary"

	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Tombstone says which samples in files a call of [Store.Free] deleted: those of the series that the
// path names, up to a time. Of lanes in memory only windows that were not in memory are affected; a
// later run has the others again.
type Tombstone struct {
	Run   uint64 // files of later runs are not affected
	Path  [][]string
	To    int64              // Unix seconds
	Lanes map[LaneName]int64 // slots from this time on are not affected; Unix milliseconds
}

// LaneName names a lane.
type LaneName struct {
	Cluster, Host string
	Frequency     int64 // milliseconds
}

// covers reports whether an element of the path contains a name. Elements that are missing contain
// all names.
func (t *Tombstone) covers(i int, name string) bool {
	return i >= len(t.Path) || newNameSet(t.Path[i]).has(name)
}

// coversHost reports whether the path names a host or devices of it.
func (t *Tombstone) coversHost(cluster, host string) bool {
	return t.covers(0, cluster) && t.covers(1, host)
}

// CoversCluster reports whether the path names a cluster or a part of it.
func (t *Tombstone) CoversCluster(cluster string) bool { return t.covers(0, cluster) }

// devices returns the part of the path below the host.
func (t *Tombstone) devices() []nameSet {
	var sets []nameSet
	for _, element := range t.Path[min(2, len(t.Path)):] {
		sets = append(sets, newNameSet(element))
	}
	return sets
}

// CoversDevice reports whether the path, if it names the device's host, names the device.
func (t *Tombstone) CoversDevice(d Device) bool {
	sets, path := t.devices(), d.path()
	if len(path) < len(sets) {
		return false
	}
	for i, set := range sets {
		if !set.has(path[i].last()) {
			return false
		}
	}
	return true
}

// before returns the time (Unix milliseconds) before which slots of the covered devices of a lane
// are deleted, and whether the path names the host.
func (t *Tombstone) before(name LaneName) (before int64, ok bool) {
	if !t.coversHost(name.Cluster, name.Host) {
		return 0, false
	}
	if before, ok := t.Lanes[name]; ok {
		return min(before, t.limit()), true
	}
	return t.limit(), true
}

// slotAt returns the first slot at or after a time.
func slotAt(grid, frequency, t int64) int64 { return -unixtime.FloorDiv(grid-t, frequency) }

// Cut deletes from the windows of a lane's state what the tombstone covers.
func (t *Tombstone) Cut(cluster, host string, l *LaneState) error {
	before, ok := t.before(LaneName{cluster, host, l.Frequency})
	if !ok {
		return nil
	}
	slots := make(map[uint32]int64)
	for _, ss := range l.Series {
		if t.CoversDevice(ss.Device) {
			slots[ss.Column] = slotAt(l.Grid, l.Frequency, before)
		}
	}
	return cutWindows(l, slots)
}

// maxFreeRecord is the size of a record, in bytes, after which a call of Free continues in another.
const maxFreeRecord = 1 << 20

// record passes the records of a call of Free to keep. They name everything, so that a replay does
// not need other records.
func (p *freePlan) record(r *Record, keep func(*Record) error) error {
	r.entry(otherFree, entryOther)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(len(p.Path)))
	for _, element := range p.Path {
		r.bytes = binary.AppendUvarint(r.bytes, uint64(len(element)))
		for _, name := range element {
			r.bytes = appendString(r.bytes, name)
		}
	}
	r.bytes = binary.AppendVarint(r.bytes, p.To)
	r.bytes = binary.AppendUvarint(r.bytes, p.Run)
	for _, l := range p.lanes {
		p.recordLane(r, l)
		if len(r.bytes) >= maxFreeRecord {
			if err := keep(r); err != nil {
				return err
			}
			r.Reset()
		}
	}
	r.entry(otherFreeEnd, entryOther)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(len(p.lanes)))
	return keep(r)
}

func (p *freePlan) recordLane(r *Record, l freedLane) {
	h := l.host
	h.mu.RLock()
	defer h.mu.RUnlock()
	// Most series have the same end, which is written once.
	ends := make(map[int64]int)
	usual, most := int64(0), 0
	for _, slot := range l.before {
		ends[slot]++
		if n := ends[slot]; n > most || n == most && slot < usual {
			usual, most = slot, n
		}
	}
	rest := l.other
	if most > 0 {
		rest = max(rest, l.lane.time(usual))
	}
	r.entry(otherFreeLane, entryOther)
	r.bytes = appendString(r.bytes, h.cluster)
	r.bytes = appendString(r.bytes, h.name)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(l.lane.frequency/1000))
	r.bytes = binary.AppendVarint(r.bytes, l.other-p.limit())
	r.bytes = binary.AppendVarint(r.bytes, rest-p.limit())
	var exceptions []byte
	n := 0
	for _, sr := range l.lane.columns {
		if sr == nil || !p.CoversDevice(sr.level.device) {
			continue
		}
		before := l.other
		if slot, ok := l.before[sr.column]; ok {
			before = max(before, l.lane.time(slot))
		}
		if before == rest {
			continue
		}
		n++
		d := sr.level.device
		for _, name := range [...]string{sr.metric.Name, d.Type, d.TypeID, d.Subtype, d.SubtypeID} {
			exceptions = appendString(exceptions, name)
		}
		exceptions = binary.AppendVarint(exceptions, before-p.limit())
	}
	r.bytes = binary.AppendUvarint(r.bytes, uint64(n))
	r.bytes = append(r.bytes, exceptions...)
}
