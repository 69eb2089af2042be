package disktest

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"slices"
	"syscall"
	"time"
)

// inode is the content of a file.
type inode struct {
	data   []byte   // as read
	synced []byte   // as on disk
	dirty  []change // since the last sync, oldest first
}

// change is a write or a truncation.
type change struct {
	off    int64
	data   []byte
	size   int64
	resize bool
}

func (n *inode) do(c change) {
	n.data = c.apply(n.data, 0)
	n.dirty = append(n.dirty, c)
}

// apply returns the content after the change. A gap between the old end and the change is filled
// with fill.
func (c change) apply(content []byte, fill byte) []byte {
	end := c.off + int64(len(c.data))
	if c.resize {
		end = c.size
		content = content[:min(int64(len(content)), end)]
	}
	for int64(len(content)) < end {
		content = append(content, fill)
	}
	copy(content[c.off:], c.data)
	return content
}

func (n *inode) sync() {
	for _, c := range n.dirty {
		n.synced = c.apply(n.synced, 0)
	}
	n.dirty = nil
}

type file struct {
	fs     *FS
	node   *inode
	name   string
	at     int64
	boot   int
	append bool
	closed bool
}

// begin must be called with the lock held.
func (f *file) begin(kind Kind) error {
	switch {
	case f.closed:
		return &fs.PathError{Op: string(kind), Path: f.name, Err: fs.ErrClosed}
	case f.boot != f.fs.boots:
		return &fs.PathError{Op: string(kind), Path: f.name, Err: ErrPower}
	}
	return f.fs.begin(kind, f.name)
}

func (f *file) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.begin(Read); err != nil {
		return 0, err
	}
	if off >= int64(len(f.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Write(p []byte) (int, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.begin(Write)
	if err != nil {
		short, ok := errors.AsType[*ShortWrite](err)
		if !ok {
			return 0, err
		}
		p = p[:min(short.Bytes, len(p))]
	}
	if f.append {
		f.at = int64(len(f.node.data))
	}
	if free := f.fs.free(); err == nil && int64(len(p)) > free {
		p, err = p[:free], &fs.PathError{Op: "write", Path: f.name, Err: syscall.ENOSPC}
	}
	if len(p) > 0 {
		f.node.do(change{off: f.at, data: slices.Clone(p)})
	}
	f.at += int64(len(p))
	return len(p), err
}

// free returns how many bytes are free.
func (f *FS) free() int64 {
	if f.capacity == 0 {
		return 1 << 62
	}
	return max(f.capacity-f.used(), 0)
}

func (f *FS) used() (bytes int64) {
	for _, node := range f.inodes() {
		bytes += int64(len(node.data))
	}
	return bytes
}

// inodes returns the inodes that have a name, each once, in an order that depends only on the
// names.
func (f *FS) inodes() []*inode {
	var nodes []*inode
	seen := map[*inode]bool{}
	for _, path := range slices.Sorted(maps.Keys(f.dirs)) {
		for _, name := range sortedNames(f.dirs[path].now) {
			if node := f.dirs[path].now[name]; !seen[node] {
				seen[node] = true
				nodes = append(nodes, node)
			}
		}
	}
	return nodes
}

func sortedNames(names map[string]*inode) []string { return slices.Sorted(maps.Keys(names)) }

func (f *file) Truncate(size int64) error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.begin(Truncate); err != nil {
		return err
	}
	f.node.do(change{size: size, off: size, resize: true})
	return nil
}

func (f *file) Sync() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	err := f.begin(Sync)
	switch {
	case err == nil:
		f.node.sync()
	case !errors.Is(err, ErrPower):
		f.fs.forget(f.node)
	}
	return err
}

func (f *file) Close() error {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.name, Err: fs.ErrClosed}
	}
	f.closed = true
	return nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return info{name: f.name, size: int64(len(f.node.data)), is: f.node}, nil
}

// InPlace is not counted as an operation: a journal without writes calls it every second.
func (f *file) InPlace() (bool, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	_, named, err := f.fs.find(f.name)
	return f.boot != f.fs.boots || err == nil && named == f.node, nil
}

type info struct {
	name string
	size int64
	dir  bool
	is   any // the *inode or *directory
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return i.is }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o750
	}
	return 0o640
}
