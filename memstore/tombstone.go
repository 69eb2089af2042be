package memstore

import (
	"encoding/binary"
	"errors"

	"github.com/ringstore/ringstore/memstore/codec"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Tombstone says which samples in files a call of [Store.Free] deleted: those of the series that the
// path names, up to a time, which depends on the series.
type Tombstone struct {
	Run   uint64 // files of later runs are not affected
	Path  [][]string
	To    int64 // Unix seconds
	Lanes map[LaneName]TombstoneLane
}

// LaneName names a lane.
type LaneName struct {
	Cluster, Host string
	Frequency     int64 // milliseconds
}

// SeriesName names a series of a host.
type SeriesName struct {
	Metric string
	Device Device
}

// TombstoneLane has the times (Unix milliseconds) before which slots of a lane are deleted. Of lanes
// that a tombstone does not contain, everything up to To is deleted.
type TombstoneLane struct {
	Usual  int64
	Series map[SeriesName]int64 // for which it is another
}

// end returns the time (Unix milliseconds) before which the slots of a series that the path names are
// deleted.
func (t *Tombstone) end(lane LaneName, sr SeriesName) int64 {
	l, ok := t.Lanes[lane]
	if !ok {
		return t.limit()
	}
	if end, ok := l.Series[sr]; ok {
		return end
	}
	return l.Usual
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

// slotAt returns the first slot at or after a time.
func slotAt(grid, frequency, t int64) int64 { return -unixtime.FloorDiv(grid-t, frequency) }

// Cut deletes from the windows of a lane's state what the tombstone covers.
func (t *Tombstone) Cut(cluster, host string, l *LaneState) error {
	if !t.coversHost(cluster, host) {
		return nil
	}
	slots := make(map[uint32]int64)
	for _, ss := range l.Series {
		if t.CoversDevice(ss.Device) {
			end := t.end(LaneName{cluster, host, l.Frequency}, SeriesName{ss.Metric, ss.Device})
			slots[ss.Column] = slotAt(l.Grid, l.Frequency, end)
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
	for name, l := range p.Lanes {
		p.recordLane(r, name, l)
		if len(r.bytes) >= maxFreeRecord {
			if err := keep(r); err != nil {
				return err
			}
			r.Reset()
		}
	}
	r.entry(otherFreeEnd, entryOther)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(len(p.Lanes)))
	return keep(r)
}

func (p *freePlan) recordLane(r *Record, name LaneName, l TombstoneLane) {
	r.entry(otherFreeLane, entryOther)
	r.bytes = appendString(r.bytes, name.Cluster)
	r.bytes = appendString(r.bytes, name.Host)
	r.bytes = binary.AppendUvarint(r.bytes, uint64(name.Frequency/1000))
	r.bytes = binary.AppendVarint(r.bytes, l.Usual-p.limit())
	r.bytes = binary.AppendUvarint(r.bytes, uint64(len(l.Series)))
	for sr, end := range l.Series {
		d := sr.Device
		for _, name := range [...]string{sr.Metric, d.Type, d.TypeID, d.Subtype, d.SubtypeID} {
			r.bytes = appendString(r.bytes, name)
		}
		r.bytes = binary.AppendVarint(r.bytes, end-p.limit())
	}
}

// cutWindows deletes slots of columns from a state's windows.
func cutWindows(l *LaneState, before map[uint32]int64) error {
	if len(before) == 0 {
		return nil
	}
	var d codec.Decoder
	var errs []error
	var left []WindowState
	for _, w := range l.Windows {
		b, err := w.Block.Cut(&d, func(id uint32) int64 { return slotBefore(before, id) })
		errs = append(errs, err)
		if b != nil {
			left = append(left, WindowState{b, w.Open})
		}
	}
	l.Windows = left
	return errors.Join(errs...)
}
