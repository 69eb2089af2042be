package archive

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

// Directories whose manifest has no marks may have them in a file of their own.
const (
	marksName  = "marks.rsm"
	marksMagic = "RSMARK\x00\x01" // the last byte is the version
	marksHead  = len(marksMagic) + 4
)

// marks say what has happened to the contents of block files since they were written. The manifest
// holds them.
type marks struct {
	mu       sync.Mutex
	freed    []memstore.Tombstone
	archived map[clusterDay]archivedDay
}

// clusterDay is a day of a cluster.
type clusterDay struct {
	cluster string
	day     parquet.Day
}

// archivedDay says which samples of a day are in Parquet files: those before a time that are in
// block files up to a run.
type archivedDay struct {
	Until int64  `json:"until"` // Unix seconds
	Run   uint64 `json:"run"`
}

// holds reports whether a sample in a file of a run, at a time in Unix milliseconds, is archived.
func (d archivedDay) holds(run uint64, t int64) bool { return run <= d.Run && t < d.Until*1000 }

// maxArchivedDays is how many days are remembered.
const maxArchivedDays = 100_000

// day returns what of a day is archived.
func (m *marks) day(at clusterDay) archivedDay {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.archived[at]
}

// addArchived adds what of a day has been archived.
func (m *marks) addArchived(at clusterDay, d archivedDay) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.archived == nil {
		m.archived = make(map[clusterDay]archivedDay)
	}
	known := m.archived[at]
	m.archived[at] = archivedDay{max(d.Until, known.Until), max(d.Run, known.Run)}
	for len(m.archived) > maxArchivedDays {
		oldest := at
		for o := range m.archived {
			if o.day < oldest.day {
				oldest = o
			}
		}
		delete(m.archived, oldest)
	}
}

// storedMarks is the JSON object in the manifest.
type storedMarks struct {
	Freed    []storedTombstone `json:"freed,omitempty"`
	Archived []storedDay       `json:"archived,omitempty"`
}

type storedDay struct {
	Cluster string `json:"cluster"`
	Day     int64  `json:"day"` // since 1970-01-01
	archivedDay
}

type storedTombstone struct {
	Run   uint64       `json:"run"`
	Path  [][]string   `json:"path"`
	To    int64        `json:"to"` // Unix seconds
	Lanes []storedLane `json:"lanes,omitempty"`
}

type storedLane struct {
	Cluster   string `json:"cluster"`
	Host      string `json:"host"`
	Frequency int64  `json:"frequency"` // milliseconds
	Before    int64  `json:"before"`    // Unix milliseconds

	Series []storedSeries `json:"series,omitempty"` // for which it is another time
}

type storedSeries struct {
	Metric    string `json:"metric"`
	Type      string `json:"type,omitempty"`
	TypeID    string `json:"type-id,omitempty"`
	Subtype   string `json:"stype,omitempty"`
	SubtypeID string `json:"stype-id,omitempty"`
	Before    int64  `json:"before"`
}

// addFreed adds what a call of free deleted, once.
func (m *marks) addFreed(t memstore.Tombstone) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.ContainsFunc(m.freed, func(o memstore.Tombstone) bool { return reflect.DeepEqual(o, t) }) {
		m.freed = append(m.freed, t)
	}
}

// cut deletes what was freed from the state of a host in a file of a run.
func (m *marks) cut(state *memstore.HostState, run uint64) error {
	m.mu.Lock()
	freed := m.freed
	m.mu.Unlock()
	var err error
	for _, t := range freed {
		if t.Run < run {
			continue
		}
		for i := range state.Lanes {
			err = errors.Join(err, t.Cut(state.Cluster, state.Host, &state.Lanes[i]))
		}
	}
	return err
}

// forgetFreed removes the tombstones that cover none of the files.
func (m *marks) forgetFreed(files map[*file]struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.freed = slices.DeleteFunc(slices.Clone(m.freed), func(t memstore.Tombstone) bool {
		for f := range files {
			if f.run <= t.Run && t.CoversCluster(f.cluster) {
				return false
			}
		}
		return true
	})
}

// stored returns the marks for the manifest.
func (m *marks) stored() *storedMarks {
	m.mu.Lock()
	defer m.mu.Unlock()
	var stored storedMarks
	for _, t := range m.freed {
		s := storedTombstone{Run: t.Run, Path: t.Path, To: t.To}
		for l, before := range t.Lanes {
			lane := storedLane{l.Cluster, l.Host, l.Frequency, before.Usual, nil}
			for sr, end := range before.Series {
				d := sr.Device
				lane.Series = append(lane.Series, storedSeries{sr.Metric, d.Type, d.TypeID, d.Subtype, d.SubtypeID, end})
			}
			slices.SortFunc(lane.Series, func(a, b storedSeries) int {
				return cmp.Or(cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Type, b.Type), cmp.Compare(a.TypeID, b.TypeID),
					cmp.Compare(a.Subtype, b.Subtype), cmp.Compare(a.SubtypeID, b.SubtypeID))
			})
			s.Lanes = append(s.Lanes, lane)
		}
		slices.SortFunc(s.Lanes, func(a, b storedLane) int {
			return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Frequency, b.Frequency))
		})
		stored.Freed = append(stored.Freed, s)
	}
	for at, d := range m.archived {
		stored.Archived = append(stored.Archived, storedDay{at.cluster, int64(at.day), d})
	}
	slices.SortFunc(stored.Archived, func(a, b storedDay) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Day, b.Day))
	})
	return &stored
}

var errMarks = errors.New("expected a file of marks with a correct checksum")

// parseMarks parses a file of marks.
func parseMarks(b []byte) (*storedMarks, error) {
	if len(b) < marksHead || string(b[:len(marksMagic)]) != marksMagic ||
		binary.LittleEndian.Uint32(b[len(marksMagic):]) != binfmt.Checksum(b[marksHead:]) {
		return nil, errMarks
	}
	var stored storedMarks
	return &stored, json.Unmarshal(b[marksHead:], &stored)
}

// restore adds the marks of a manifest.
func (m *marks) restore(stored *storedMarks) {
	if stored == nil {
		return
	}
	for _, d := range stored.Archived {
		m.addArchived(clusterDay{d.Cluster, parquet.Day(d.Day)}, d.archivedDay)
	}
	for _, s := range stored.Freed {
		t := memstore.Tombstone{Run: s.Run, Path: s.Path, To: s.To, Lanes: make(map[memstore.LaneName]memstore.TombstoneLane)}
		for _, l := range s.Lanes {
			lane := memstore.TombstoneLane{Usual: l.Before}
			for _, x := range l.Series {
				if lane.Series == nil {
					lane.Series = make(map[memstore.SeriesName]int64)
				}
				d := memstore.Device{Type: x.Type, TypeID: x.TypeID, Subtype: x.Subtype, SubtypeID: x.SubtypeID}
				lane.Series[memstore.SeriesName{Metric: x.Metric, Device: d}] = x.Before
			}
			t.Lanes[memstore.LaneName{Cluster: l.Cluster, Host: l.Host, Frequency: l.Frequency}] = lane
		}
		m.addFreed(t)
	}
}

func readWhole(fsys disk.FS, path string) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	var content []byte
	if err == nil {
		content = make([]byte, info.Size())
		var n int
		if n, err = f.ReadAt(content, 0); n == len(content) {
			err = nil
		}
	}
	return content, errors.Join(err, f.Close())
}

// findMarks reads the marks: those of the manifest, or else the file.
func (d *directory) findMarks() error {
	if d.manifest != nil && d.manifest.Marks != nil {
		d.marks = d.manifest.Marks
		return nil
	}
	path := filepath.Join(d.root, marksName)
	content, err := readWhole(d.fsys, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if d.marks, err = parseMarks(content); err != nil {
		d.marks = nil
		d.problems = append(d.problems, &disk.DamageError{Path: path, Err: fmt.Errorf("%w; samples that were freed or archived may return", err)})
	}
	return nil
}
