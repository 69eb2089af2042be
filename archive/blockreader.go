package archive

import (
	"fmt"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// maxOpenFiles bounds the files that a blockReader keeps open.
const maxOpenFiles = 64

// blockReader reads entries and keeps their files open. It is for one goroutine.
type blockReader struct {
	fsys  disk.FS
	marks *marks
	files map[*file]*blockfile.File
}

func newBlockReader(fsys disk.FS, m *marks) *blockReader {
	return &blockReader{fsys, m, make(map[*file]*blockfile.File)}
}

// read returns the host's state with the window of an entry and no other, without what was freed
// since; if that is everything, without a window.
func (b *blockReader) read(e *entry) (memstore.HostState, error) {
	f, err := b.open(e.file)
	if err != nil {
		return memstore.HostState{}, err
	}
	if !e.isIn(f) && len(f.Unreadable) > 0 {
		return memstore.HostState{}, f.Unreadable[0]
	}
	if !e.isIn(f) {
		return memstore.HostState{}, fmt.Errorf("%s: expected the lane of %s/%s at %d s that was listed there; the file has changed", e.file.path, e.lane.cluster, e.lane.host, e.lane.frequency/1000)
	}
	h := f.Hosts[e.hostIndex]
	tables, err := f.Series(e.hostIndex)
	if err != nil {
		return memstore.HostState{}, err
	}
	block, err := f.Block(e.window)
	if err != nil {
		return memstore.HostState{}, err
	}
	l := h.Lanes[e.laneIndex]
	state := memstore.HostState{Cluster: h.Cluster, Host: h.Host, Number: h.Number, Lanes: []memstore.LaneState{{
		Frequency: l.Frequency,
		Grid:      l.Grid,
		Series:    tables[e.laneIndex],
		Windows:   []memstore.WindowState{{Block: block}},
	}}}
	return state, b.marks.cut(&state, e.file.run)
}

// isIn reports whether an entry is still at its place in the file. If the file is damaged, or the
// disk returned errors, opening it again may list other hosts.
func (e *entry) isIn(f *blockfile.File) bool {
	if e.hostIndex >= len(f.Hosts) {
		return false
	}
	h := &f.Hosts[e.hostIndex]
	return h.Cluster == e.lane.cluster && h.Host == e.lane.host &&
		e.laneIndex < len(h.Lanes) && h.Lanes[e.laneIndex].Frequency == e.lane.frequency
}

func (b *blockReader) open(f *file) (*blockfile.File, error) {
	if opened := b.files[f]; opened != nil {
		return opened, nil
	}
	if len(b.files) >= maxOpenFiles {
		b.close()
	}
	opened, err := blockfile.Open(b.fsys, f.path)
	if err != nil {
		return nil, err
	}
	b.files[f] = opened
	return opened, nil
}

func (b *blockReader) close() {
	for _, f := range b.files {
		_ = f.Close() // was only read
	}
	clear(b.files)
}
