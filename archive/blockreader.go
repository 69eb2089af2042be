package archive

import (
	"fmt"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// blockReader reads entries, and keeps the files open that they are in.
type blockReader struct {
	fsys  disk.FS
	files map[*file]*blockfile.File
}

func newBlockReader(fsys disk.FS) *blockReader {
	return &blockReader{fsys, make(map[*file]*blockfile.File)}
}

// mostOpenFiles is how many files are kept open.
const mostOpenFiles = 64

// read returns the state of one window.
func (b *blockReader) read(e *entry) (memstore.HostState, error) {
	f, err := b.open(e.file)
	if err != nil {
		return memstore.HostState{}, err
	}
	if !e.isIn(f) {
		return memstore.HostState{}, fmt.Errorf("%s: it is not the file that it was", e.file.path)
	}
	h := f.Hosts[e.host]
	tables, err := f.Series(e.host)
	if err != nil {
		return memstore.HostState{}, err
	}
	block, err := f.Block(e.window)
	if err != nil {
		return memstore.HostState{}, err
	}
	l := h.Lanes[e.inHost]
	return memstore.HostState{Cluster: h.Cluster, Host: h.Host, Number: h.Number, Lanes: []memstore.LaneState{{
		Frequency: l.Frequency,
		Grid:      l.Grid,
		Series:    tables[e.inHost],
		Windows:   []memstore.WindowState{{Block: block}},
	}}}, nil
}

// isIn reports whether an entry is where it was when its file was listed: another
// reading may have met damage, or got by it.
func (e *entry) isIn(f *blockfile.File) bool {
	if e.host >= len(f.Hosts) {
		return false
	}
	h := &f.Hosts[e.host]
	return h.Cluster == e.lane.cluster && h.Host == e.lane.host &&
		e.inHost < len(h.Lanes) && h.Lanes[e.inHost].Frequency == e.lane.frequency
}

func (b *blockReader) open(f *file) (*blockfile.File, error) {
	if opened := b.files[f]; opened != nil {
		return opened, nil
	}
	if len(b.files) >= mostOpenFiles {
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
		_ = f.Close() // it was only read
	}
	clear(b.files)
}
