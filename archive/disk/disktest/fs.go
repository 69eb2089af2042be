// Package disktest is a file system in memory, for tests, that fails as disks do: it loses power,
// fills up, writes only a part of the data, and forgets data after a failed fsync. The same seed
// and operations give the same losses.
//
// It models what POSIX allows and what Linux file systems do. It does not interpret file contents.
package disktest

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/ringstore/ringstore/archive/disk"
)

// ErrPower is the error of all operations after the last that [FS.StopAfter] allows, and of files
// that were open when the power was lost or the process ended.
var ErrPower = errors.New("the power is off")

// Kind is a kind of operation.
type Kind string

// The kinds of operations, named after the methods of [disk.FS] and [disk.File]. Close, Stat and
// InPlace of an open file are not counted: no fault is injected into them.
const (
	Open     Kind = "open"
	Read     Kind = "read"
	Write    Kind = "write"
	Sync     Kind = "sync"
	Truncate Kind = "truncate"
	ReadDir  Kind = "readdir"
	Stat     Kind = "stat"
	Rename   Kind = "rename"
	Link     Kind = "link"
	Remove   Kind = "remove"
	Mkdir    Kind = "mkdir"
	SyncDir  Kind = "syncdir"
	Lock     Kind = "lock"
)

// Op is one operation.
type Op struct {
	N    int // counted from 1
	Kind Kind
	Path string // the old path of a rename or link
}

// ShortWrite is an error for [FS.Inject]: the write stores the first Bytes and then fails with Err.
type ShortWrite struct {
	Bytes int
	Err   error
}

func (e *ShortWrite) Error() string { return e.Err.Error() }

func (e *ShortWrite) Unwrap() error { return e.Err }

// FS is a [disk.FS] in memory. Its methods are safe for concurrent use.
type FS struct {
	mu       sync.Mutex
	rng      *rand.Rand
	dirs     map[string]*directory
	names    []nameChange // unsynced, oldest first
	locks    map[*directory]*lock
	ops      int
	last     int // the last operation before the power is lost; 0 means never
	boots    int // files of an earlier boot are unusable
	inject   func(Op) error
	capacity int64
	readOnly error // of what changes something
}

var _ disk.FS = (*FS)(nil)

type directory struct{ now, synced map[string]*inode }

// nameChange is an atomic change of a directory.
type nameChange struct {
	dir         *directory
	remove, add string // "" means none
	node        *inode // of add
}

func (c nameChange) apply(names map[string]*inode) {
	delete(names, c.remove)
	if c.add != "" {
		names[c.add] = c.node
	}
}

// New returns an empty file system with a root. The seed decides what a loss of power loses.
func New(seed uint64) *FS {
	f := &FS{rng: rand.New(rand.NewPCG(seed, seed)), dirs: map[string]*directory{}, locks: map[*directory]*lock{}}
	f.dirs["/"] = newDirectory()
	f.dirs["."] = newDirectory()
	return f
}

func newDirectory() *directory {
	return &directory{now: map[string]*inode{}, synced: map[string]*inode{}}
}

// Inject makes every operation call decide, which must not use f. On an error the operation fails
// with it and does nothing, with two exceptions: a [ShortWrite] stores its bytes first, and a Sync
// may have stored any part and forgets the rest, as on Linux.
func (f *FS) Inject(decide func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inject = decide
}

// StopAfter lets n more operations happen. Later ones fail with [ErrPower] until [FS.LosePower] or
// [FS.Kill].
func (f *FS) StopAfter(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = f.ops + n
}

// SetCapacity limits the bytes of all files together; 0 means no limit.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// SetReadOnly makes all changes fail with an error; nil ends that.
func (f *FS) SetReadOnly(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readOnly = err
}

// Used returns the bytes of all files together.
func (f *FS) Used() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used()
}

// Operations returns how many operations there were.
func (f *FS) Operations() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// begin counts an operation and returns the error that it fails with.
func (f *FS) begin(kind Kind, path string) error {
	if f.last > 0 && f.ops >= f.last {
		return &fs.PathError{Op: string(kind), Path: path, Err: ErrPower}
	}
	f.ops++
	switch kind {
	case Write, Truncate, Rename, Link, Remove, Mkdir:
		if f.readOnly != nil && (kind != Mkdir || f.dirs[path] == nil) {
			return &fs.PathError{Op: string(kind), Path: path, Err: f.readOnly}
		}
	}
	if f.inject == nil {
		return nil
	}
	err := f.inject(Op{N: f.ops, Kind: kind, Path: path})
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: string(kind), Path: path, Err: err}
}

// find returns a file's directory, and the file if it exists.
func (f *FS) find(name string) (*directory, *inode, error) {
	dir := f.dirs[filepath.Dir(name)]
	if dir == nil {
		return nil, nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return dir, dir.now[filepath.Base(name)], nil
}

func (f *FS) change(c nameChange) {
	c.apply(c.dir.now)
	f.names = append(f.names, c)
}

// OpenFile supports the flags O_CREATE, O_EXCL, O_TRUNC and O_APPEND.
func (f *FS) OpenFile(name string, flag int, _ fs.FileMode) (disk.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if err := f.begin(Open, name); err != nil {
		return nil, err
	}
	dir, node, err := f.find(name)
	switch {
	case err != nil:
		return nil, err
	case f.readOnly != nil && flag&(os.O_WRONLY|os.O_RDWR|os.O_CREATE|os.O_TRUNC) != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: f.readOnly}
	case node == nil && flag&os.O_CREATE == 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case node != nil && flag&os.O_EXCL != 0:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	case node == nil:
		node = &inode{}
		f.change(nameChange{dir: dir, add: filepath.Base(name), node: node})
	case flag&os.O_TRUNC != 0:
		node.do(change{size: 0, resize: true})
	}
	return &file{fs: f, node: node, name: name, boot: f.boots, append: flag&os.O_APPEND != 0}, nil
}

// ReadDir returns the files and directories of a directory, sorted by name.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ReadDir, name); err != nil {
		return nil, err
	}
	dir := f.dirs[filepath.Clean(name)]
	if dir == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	var entries []fs.DirEntry
	for _, base := range sortedNames(dir.now) {
		entries = append(entries, fs.FileInfoToDirEntry(info{name: base, size: int64(len(dir.now[base].data))}))
	}
	for path := range f.dirs {
		if filepath.Dir(path) == filepath.Clean(name) && path != filepath.Clean(name) {
			entries = append(entries, fs.FileInfoToDirEntry(info{name: filepath.Base(path), dir: true}))
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, nil
}

// Stat returns the information on a file or directory.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if err := f.begin(Stat, name); err != nil {
		return nil, err
	}
	if dir := f.dirs[name]; dir != nil {
		return info{name: filepath.Base(name), dir: true, is: dir}, nil
	}
	_, node, err := f.find(name)
	if err == nil && node == nil {
		err = &fs.PathError{Op: "stat", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, err
	}
	return info{name: filepath.Base(name), size: int64(len(node.data)), is: node}, nil
}

// Rename is atomic within a directory. Between two directories a loss of power may leave both names
// or none. The new name of a directory survives any loss of power.
func (f *FS) Rename(from, to string) error { return f.move(Rename, from, to) }

// Link gives a file a second name.
func (f *FS) Link(from, to string) error { return f.move(Link, from, to) }

func (f *FS) move(kind Kind, from, to string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(kind, from); err != nil {
		return err
	}
	if kind == Rename && f.dirs[filepath.Clean(from)] != nil {
		return f.moveDir(filepath.Clean(from), filepath.Clean(to))
	}
	source, node, err := f.find(filepath.Clean(from))
	if err != nil {
		return err
	}
	target, there, err := f.find(filepath.Clean(to))
	if err != nil {
		return err
	}
	if node == nil {
		return &os.LinkError{Op: string(kind), Old: from, New: to, Err: syscall.ENOENT}
	}
	if kind == Link && there != nil {
		return &os.LinkError{Op: string(kind), Old: from, New: to, Err: syscall.EEXIST}
	}
	c := nameChange{dir: target, add: filepath.Base(to), node: node}
	switch {
	case kind == Link:
	case source == target:
		c.remove = filepath.Base(from)
	default:
		f.change(nameChange{dir: source, remove: filepath.Base(from)})
	}
	f.change(c)
	return nil
}

// moveDir renames a directory with all below it.
func (f *FS) moveDir(from, to string) error {
	if f.dirs[to] != nil {
		return &os.LinkError{Op: string(Rename), Old: from, New: to, Err: syscall.EEXIST}
	}
	for _, path := range slices.Collect(maps.Keys(f.dirs)) {
		if rest, below := strings.CutPrefix(path+"/", from+"/"); below {
			f.dirs[filepath.Join(to, rest)] = f.dirs[path]
			delete(f.dirs, path)
		}
	}
	return nil
}

// removeDir removes an empty directory.
func (f *FS) removeDir(name string) error {
	empty := len(f.dirs[name].now) == 0
	for path := range f.dirs {
		empty = empty && !strings.HasPrefix(path, name+"/")
	}
	if !empty {
		return &fs.PathError{Op: "remove", Path: name, Err: syscall.ENOTEMPTY}
	}
	f.names = slices.DeleteFunc(f.names, func(c nameChange) bool { return c.dir == f.dirs[name] })
	delete(f.dirs, name)
	return nil
}

// Remove removes a file, or an empty directory for good.
func (f *FS) Remove(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if err := f.begin(Remove, name); err != nil {
		return err
	}
	if f.dirs[name] != nil {
		return f.removeDir(name)
	}
	dir, node, err := f.find(name)
	if err == nil && node == nil {
		err = &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	if err != nil {
		return err
	}
	f.change(nameChange{dir: dir, remove: filepath.Base(name)})
	return nil
}

// RemoveAll removes a directory with all below it for good, as another process would: it is no
// operation.
func (f *FS) RemoveAll(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for path, dir := range f.dirs {
		if path == name || strings.HasPrefix(path, name+"/") {
			f.names = slices.DeleteFunc(f.names, func(c nameChange) bool { return c.dir == dir })
			delete(f.dirs, path)
		}
	}
}

// MkdirAll creates directories, which survive any loss of power.
func (f *FS) MkdirAll(name string, _ fs.FileMode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Clean(name)
	if err := f.begin(Mkdir, name); err != nil {
		return err
	}
	for f.dirs[name] == nil {
		f.dirs[name] = newDirectory()
		name = filepath.Dir(name)
	}
	return nil
}

// SyncDir makes the directory's names survive a loss of power.
func (f *FS) SyncDir(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(SyncDir, name); err != nil {
		return err
	}
	dir := f.dirs[filepath.Clean(name)]
	if dir == nil {
		return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f.names = slices.DeleteFunc(f.names, func(c nameChange) bool {
		if c.dir != dir {
			return false
		}
		c.apply(dir.synced)
		return true
	})
	return nil
}
