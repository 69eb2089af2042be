package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

const (
	marksName  = "marks.rsm"
	marksMagic = "RSMARK\x00\x01" // the last byte is the version
	marksHead  = len(marksMagic) + 4
)

// marks say what has happened to the contents of block files since they were written. The file
// marksName holds them.
type marks struct {
	mu        sync.Mutex
	freed     []memstore.Tombstone
	published []byte // the contents of the file; nil if there is none
}

// storedMarks is the JSON object in the file.
type storedMarks struct {
	Freed []storedTombstone `json:"freed,omitempty"`
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

// encode returns the contents of the file.
func (m *marks) encode() ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var stored storedMarks
	for _, t := range m.freed {
		s := storedTombstone{Run: t.Run, Path: t.Path, To: t.To}
		for l, before := range t.Lanes {
			s.Lanes = append(s.Lanes, storedLane{l.Cluster, l.Host, l.Frequency, before})
		}
		stored.Freed = append(stored.Freed, s)
	}
	content, err := json.Marshal(stored)
	if err != nil {
		return nil, err
	}
	out := binary.LittleEndian.AppendUint32([]byte(marksMagic), binfmt.Checksum(content))
	return append(out, content...), nil
}

var errMarks = errors.New("expected a file of marks with a correct checksum")

func (m *marks) decode(b []byte) error {
	if len(b) < marksHead || string(b[:len(marksMagic)]) != marksMagic ||
		binary.LittleEndian.Uint32(b[len(marksMagic):]) != binfmt.Checksum(b[marksHead:]) {
		return errMarks
	}
	var stored storedMarks
	if err := json.Unmarshal(b[marksHead:], &stored); err != nil {
		return err
	}
	for _, s := range stored.Freed {
		t := memstore.Tombstone{Run: s.Run, Path: s.Path, To: s.To, Lanes: make(map[memstore.LaneName]int64)}
		for _, l := range s.Lanes {
			t.Lanes[memstore.LaneName{Cluster: l.Cluster, Host: l.Host, Frequency: l.Frequency}] = l.Before
		}
		m.addFreed(t)
	}
	return nil
}

// publishMarks writes the marks to their file if they have changed; checkpointMu is held.
func (a *Archive) publishMarks() error {
	m := &a.marks
	content, err := m.encode()
	if err != nil || bytes.Equal(content, m.published) || m.published == nil && string(content[marksHead:]) == "{}" {
		return err
	}
	m.published = nil
	err = disk.Publish(a.FS, filepath.Join(a.dir, marksName), func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if err == nil {
		m.published = content
	}
	return err
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

// restoreMarks reads the marks.
func (r *restorer) restoreMarks() error {
	path := filepath.Join(r.dir, marksName)
	content, err := readWhole(r.disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	r.total.Files++
	r.marks.published = content
	if err := r.marks.decode(content); err != nil {
		r.total.Damaged++
		r.marks.published = nil
		r.Logger.Error("a file is damaged and unreadable; it was renamed. Samples that were freed or archived may return", "to", path+damagedSuffix, "error", &disk.DamageError{Path: path, Err: err})
		return r.FS.Rename(path, path+damagedSuffix)
	}
	return nil
}
