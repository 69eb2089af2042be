package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// A checkpoint's files: for each cluster one of the blocks that no earlier one
// has, blocks/<cluster>/<run>.rsb, and at last windows-<run>.rsw with all that is
// open and the places of all series, which makes the run valid.
const (
	blocksDir     = "blocks"
	blocksSuffix  = ".rsb"
	windowsPrefix = "windows-"
	windowsSuffix = ".rsw"
	journalDir    = "journal"
	damagedSuffix = ".damaged"
)

// Checkpoint writes down what the store holds and no file has yet, and removes
// what that makes needless of the journal and of the files. Writes go on
// meanwhile.
func (a *Archive) Checkpoint() error { return a.checkpointAt(new(pace)) }

func (a *Archive) checkpointAt(p *pace) error {
	a.checkpointing.Lock()
	defer a.checkpointing.Unlock()
	begin := time.Now()
	written, err := a.checkpoint(begin, p)
	a.checkpoints.count(begin, written, err)
	return err
}

// checkpoint returns how many bytes it wrote.
func (a *Archive) checkpoint(begin time.Time, p *pace) (int64, error) {
	n, first, err := a.cut()
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	c := checkpoint{archive: a, snapshot: n, pace: p, head: blockfile.Head{Run: a.nextRun(), Journal: first}}
	if err := c.write(); err != nil {
		return 0, fmt.Errorf("checkpoint: %w", errors.Join(err, c.undo(), a.removeBlocks()))
	}
	n.Settle()
	c.keep()
	a.Logger.Info("checkpoint written", "run", c.head.Run, "hosts", c.hosts, "blocks", c.blocks, "bytes", c.bytes, "took", time.Since(begin))
	if err := errors.Join(a.journal.Load().Drop(first), a.removeWindows(c.head.Run), a.removeBlocks()); err != nil {
		return c.bytes, fmt.Errorf("checkpoint %d is written, but what it replaces is still there: %w", c.head.Run, err)
	}
	return c.bytes, nil
}

// cut begins a segment of the journal and a snapshot which has all that the
// segments before it have.
func (a *Archive) cut() (*memstore.Snapshot, uint64, error) {
	j := a.journal.Load()
	if j == nil {
		return nil, 0, ErrNotRestored
	}
	_ = j.Sync(context.Background()) // so that it takes little time below; Rotate tells of errors
	a.gate.Lock()
	defer a.gate.Unlock()
	first, err := j.Rotate()
	if err != nil {
		return nil, 0, err
	}
	return a.Store.Snapshot(), first, nil
}

// nextRun returns a number for a checkpoint that is higher than all before.
func (a *Archive) nextRun() uint64 {
	a.run = max(a.run+1, uint64(max(a.Now().UnixMilli(), 0)))
	return a.run
}

// checkpoint is the work of writing one.
type checkpoint struct {
	archive  *Archive
	snapshot *memstore.Snapshot
	head     blockfile.Head // of the windows
	windows  *blockfile.Writer
	pace     *pace

	begun  []string // paths of files of blocks
	files  []writtenFile
	hosts  int
	blocks int
	bytes  int64
}

// writtenFile is a file of blocks that is there.
type writtenFile struct {
	file  *file
	hosts []blockfile.HostIndex
}

// write writes the files. Those of blocks are there before that of the windows.
func (c *checkpoint) write() error {
	a := c.archive
	c.head.Kind = blockfile.Windows
	err := disk.Publish(a.FS, c.path(), func(w io.Writer) (err error) {
		if c.windows, err = blockfile.NewWriter(w, c.head); err != nil {
			return err
		}
		for _, cluster := range c.snapshot.Clusters() {
			if err := c.cluster(cluster); err != nil {
				return err
			}
		}
		c.bytes += c.windows.Size()
		return c.windows.Close()
	})
	return err
}

// path is where the windows go.
func (c *checkpoint) path() string {
	return filepath.Join(c.archive.dir, windowsPrefix+runName(c.head.Run)+windowsSuffix)
}

// keep makes the files part of what is there.
func (c *checkpoint) keep() {
	for _, f := range c.files {
		c.archive.catalog.add(f.file, f.hosts)
	}
}

// undo removes the files of a checkpoint that failed: a full disk would only get
// fuller by them. But if its windows may be there they are valid, and need them.
func (c *checkpoint) undo() error {
	fsys := c.archive.FS
	if _, err := fsys.Stat(c.path()); !errors.Is(err, fs.ErrNotExist) {
		c.keep()
		return nil
	}
	var err error
	for _, path := range c.begun {
		if e := fsys.Remove(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// errNothing says that a cluster has no new block.
var errNothing = errors.New("no new block")

// cluster writes a cluster's hosts: to the windows, and what is sealed to a file
// of its own.
func (c *checkpoint) cluster(name string) error {
	a := c.archive
	dir := filepath.Join(a.dir, blocksDir, name)
	if err := a.FS.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f := &file{path: filepath.Join(dir, runName(c.head.Run)+blocksSuffix), cluster: name, run: c.head.Run}
	c.begun = append(c.begun, f.path)
	head := c.head
	head.Kind = blockfile.Blocks
	var hosts []blockfile.HostIndex
	err := disk.Publish(a.FS, f.path, func(w io.Writer) error {
		blocks, err := blockfile.NewWriter(w, head)
		if err != nil {
			return err
		}
		err = c.snapshot.Hosts(name, func(h memstore.HostState) error {
			sealed, open, n := split(h)
			c.hosts++
			c.blocks += n
			defer c.pace.rest()
			if _, err := c.windows.Add(open); err != nil || n == 0 {
				return err
			}
			index, err := blocks.Add(sealed)
			hosts = append(hosts, index)
			return err
		})
		switch {
		case err != nil:
			return err
		case len(hosts) == 0:
			return errNothing
		}
		c.bytes += blocks.Size()
		return blocks.Close()
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	c.files = append(c.files, writtenFile{f, hosts})
	return nil
}

// split parts a host's state into what goes to a file of blocks, n blocks and
// freed ranges, and what goes to the windows.
func split(h memstore.HostState) (sealed, open memstore.HostState, n int) {
	sealed, open = h, h
	sealed.Lanes, open.Lanes = nil, nil
	for _, l := range h.Lanes {
		s, o := l, l
		s.Windows, o.Windows, o.Freed = nil, nil, nil
		for _, w := range l.Windows {
			if w.Open {
				o.Windows = append(o.Windows, w)
			} else {
				s.Windows = append(s.Windows, w)
			}
		}
		if len(s.Windows)+len(s.Freed) > 0 {
			sealed.Lanes = append(sealed.Lanes, s)
			n += len(s.Windows) + len(s.Freed)
		}
		open.Lanes = append(open.Lanes, o)
	}
	return sealed, open, n
}

func runName(run uint64) string { return fmt.Sprintf("%013d", run) }

// runOf returns the run that a file's name tells.
func runOf(name, prefix, suffix string) (uint64, bool) {
	number, ok := strings.CutPrefix(name, prefix)
	number, ok2 := strings.CutSuffix(number, suffix)
	run, err := strconv.ParseUint(number, 10, 64)
	return run, ok && ok2 && err == nil
}

// list returns the files of a directory whose names tell a run, by their runs,
// the oldest first.
func (a *Archive) list(dir, prefix, suffix string) (paths []string, runs []uint64, err error) {
	entries, err := disk.List(a.FS, dir)
	if err != nil {
		return nil, nil, err
	}
	byRun := make(map[uint64]string)
	for _, e := range entries {
		if run, ok := runOf(e.Name(), prefix, suffix); ok {
			byRun[run] = filepath.Join(dir, e.Name())
		}
	}
	runs = slices.Sorted(maps.Keys(byRun))
	for _, run := range runs {
		paths = append(paths, byRun[run])
	}
	return paths, runs, nil
}

// over reports whether nobody needs an entry any more.
func (a *Archive) over(e *entry) bool {
	waits := a.Parquet != nil && !e.freed && e.end > a.moved[e.lane.cluster]*1000
	return !waits && e.end < a.Store.Oldest(e.lane.cluster, e.lane.host)
}

// removeWindows removes the windows of the runs before one that is written.
func (a *Archive) removeWindows(run uint64) error {
	paths, runs, err := a.list(a.dir, windowsPrefix, windowsSuffix)
	for i, path := range paths {
		if runs[i] < run {
			err = errors.Join(err, a.FS.Remove(path))
		}
	}
	return err
}

// removeBlocks removes files of blocks that hold nothing any more that is not in
// newer ones, or that nobody needs.
func (a *Archive) removeBlocks() (err error) {
	a.catalog.drop(a.over)
	for f := range a.catalog.files {
		if f.live > 0 {
			continue
		}
		if e := a.FS.Remove(f.path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
			continue
		}
		delete(a.catalog.files, f)
	}
	return err
}
