package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// A checkpoint writes one file per cluster with the blocks sealed since the last checkpoint,
// blocks/<cluster>/<run>.rsb, and then windows-<run>.rsw with the open windows and the tables of
// all series. The windows file makes the run valid.
const (
	blocksDir     = "blocks"
	blocksSuffix  = ".rsb"
	windowsPrefix = "windows-"
	windowsSuffix = ".rsw"
	journalDir    = "journal"
	damagedSuffix = ".damaged"
)

// Checkpoint writes everything in the store that no file holds yet, and removes the journal
// segments and files that are no longer needed. Writes continue meanwhile.
func (a *Archive) Checkpoint() error { return a.pacedCheckpoint(new(pace)) }

func (a *Archive) pacedCheckpoint(p *pace) error {
	if a.readOnly != nil {
		return a.readOnly
	}
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	begin := time.Now()
	written, err := a.checkpoint(begin, p)
	a.checkpoints.add(begin, written, err)
	return err
}

// checkpoint returns how many bytes it wrote.
func (a *Archive) checkpoint(begin time.Time, p *pace) (int64, error) {
	gone, err := a.prepareCheckpoint()
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	snapshot, first, err := a.beginCheckpoint()
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", err)
	}
	c := checkpoint{archive: a, snapshot: snapshot, pace: p, gone: gone, first: first, head: blockfile.Head{Run: a.nextRun(), Journal: first, Store: a.storeID}}
	if a.unreadSegment > 0 {
		c.head.Journal = a.unreadSegment
	}
	err = a.journal.Load().SyncName() // the manifest will list the new segment
	if err == nil {                   // the journal before this run, which has it, will not be replayed
		err = a.Store.RecordHistory(func(record []byte) error { return a.journal.Load().Append(context.Background(), record) })
	}
	if err == nil {
		err = c.write()
	}
	if err == nil {
		err = c.publish()
	}
	if err != nil {
		return 0, fmt.Errorf("checkpoint: %w", errors.Join(err, c.undo(), a.removeBlocks()))
	}
	snapshot.Commit()
	c.addToCatalog()
	a.stored.Store(c.head.Run)
	if gone != nil {
		err = a.findGone(true) // the files may still be being removed
		a.accept(gone)
	}
	a.Logger.Info("checkpoint written", "run", c.head.Run, "hosts", c.hosts, "blocks", c.blocks, "bytes", c.bytes, "took", time.Since(begin))
	if err := errors.Join(err, a.journal.Load().Drop(a.journalFrom), a.removeWindows(), a.removeBlocks()); err != nil {
		return c.bytes, fmt.Errorf("checkpoint %d is written, but files that it replaces could not be removed: %w", c.head.Run, err)
	}
	return c.bytes, nil
}

// spill writes the blocks that no file holds, without a windows file: the journal before it stays
// necessary. checkpointMu is held.
func (a *Archive) spill() error {
	c := checkpoint{archive: a, snapshot: a.Store.UnstoredBlocks(), pace: new(pace), head: blockfile.Head{Run: a.nextRun(), Journal: 1, Store: a.storeID}}
	for _, cluster := range c.snapshot.Clusters() {
		if err := c.writeCluster(cluster); err != nil {
			return fmt.Errorf("storing windows before they are evicted: %w", errors.Join(err, c.undo()))
		}
	}
	c.snapshot.Commit()
	c.addToCatalog()
	a.stored.Store(c.head.Run)
	a.Logger.Info("windows stored before they are evicted", "run", c.head.Run, "blocks", c.blocks, "bytes", c.bytes)
	return nil
}

// prepareCheckpoint looks for files that are gone. If there are any, it returns one of them, and the
// checkpoint must write everything again.
func (a *Archive) prepareCheckpoint() (*disk.GoneError, error) {
	j := a.journal.Load()
	if j == nil {
		return nil, ErrNotRestored
	}
	if err := j.CheckPresent(); err != nil {
		return nil, err
	}
	err := a.findGone(true)
	return a.gone.Load(), err
}

// beginCheckpoint starts a journal segment and returns its number, with a snapshot of everything
// that older segments hold.
func (a *Archive) beginCheckpoint() (*memstore.Snapshot, uint64, error) {
	j := a.journal.Load()
	_ = j.Sync(context.Background()) // shortens Rotate, which holds the gate and returns any error
	a.gate.Lock()
	defer a.gate.Unlock()
	first, err := j.Rotate()
	if err != nil {
		return nil, 0, err
	}
	return a.Store.Snapshot(), first, nil
}

// nextRun returns a number that is higher than that of every earlier run.
func (a *Archive) nextRun() uint64 {
	a.run = max(a.run+1, uint64(max(a.Now().UnixMilli(), 0)))
	return a.run
}

// checkpoint writes one checkpoint.
type checkpoint struct {
	archive  *Archive
	snapshot *memstore.Snapshot
	head     blockfile.Head // of the windows file
	first    uint64         // the first journal segment that is not in the files
	windows  *blockfile.Writer
	pace     *pace
	gone     *disk.GoneError // if not nil, files are gone, and no older one is relied on

	listed    manifestFile // the windows file
	published bool         // the manifest may be

	started []string // paths of block files, published or not
	files   []writtenFile
	hosts   int
	blocks  int
	bytes   int64
}

// writtenFile is a published block file.
type writtenFile struct {
	file  *file
	hosts []blockfile.HostIndex
}

// publish publishes a manifest with the files, which makes the run valid.
func (c *checkpoint) publish() error {
	a := c.archive
	windows, replayFrom, journalFrom, generation := a.windows, a.replayFrom, a.journalFrom, a.generation
	a.windows = append([]manifestFile{c.listed}, windows[:min(len(windows), keptWindows-1)]...)
	a.journalFrom, a.replayFrom = replayFrom, c.head.Journal
	if c.gone != nil {
		a.windows, a.journalFrom = a.windows[:1], c.head.Journal
	}
	var files []*file
	for _, f := range c.files {
		files = append(files, f.file)
	}
	err := a.publishManifest(a.journal.Load().Names(), files, nil)
	if c.published = a.generation != generation; !c.published {
		a.windows, a.replayFrom, a.journalFrom = windows, replayFrom, journalFrom
		return err
	}
	a.replaySegment.Store(c.first)
	return err
}

// write writes the files. The windows file is published last.
func (c *checkpoint) write() error {
	a := c.archive
	c.head.Kind = blockfile.Windows
	return disk.Publish(a.FS, c.windowsPath(), func(w io.Writer) (err error) {
		if c.windows, err = blockfile.NewWriter(w, c.head); err != nil {
			return err
		}
		for _, cluster := range c.snapshot.Clusters() {
			if err := c.writeCluster(cluster); err != nil {
				return err
			}
		}
		err = c.windows.Close()
		c.bytes += c.windows.Size()
		c.listed = manifestFile{
			Name: filepath.Base(c.windowsPath()), Bytes: c.windows.Size(), Sum: sumText(c.windows.Sum()), Journal: c.head.Journal,
			From: c.listed.From, To: c.listed.To,
		}
		return err
	})
}

func (c *checkpoint) windowsPath() string {
	return filepath.Join(c.archive.dir, windowsPrefix+runName(c.head.Run)+windowsSuffix)
}

func (c *checkpoint) addToCatalog() {
	for _, f := range c.files {
		c.archive.catalog.add(f.file, f.hosts)
	}
}

// undo removes the files of a failed checkpoint, which would fill a full disk further. If the
// manifest may exist, the checkpoint may be valid, and its files stay.
func (c *checkpoint) undo() error {
	a := c.archive
	if c.published {
		c.addToCatalog()
		return nil
	}
	remove := func(path string) error {
		if err := a.FS.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	err := remove(c.windowsPath())
	dirs := map[string]bool{a.dir: true}
	for _, path := range c.started {
		dirs[filepath.Dir(path)] = true
		e := remove(path)
		err = errors.Join(err, e)
		for _, f := range c.files {
			if e != nil && f.file.path == path { // it stays; the next manifest has to list it
				a.catalog.add(f.file, f.hosts)
			}
		}
	}
	return errors.Join(err, a.syncDirs(dirs))
}

// errNoBlocks keeps a file without blocks from being published.
var errNoBlocks = errors.New("no new block")

// writeCluster writes a cluster's hosts: open windows to the windows file, blocks to a file of
// their own.
func (c *checkpoint) writeCluster(name string) error {
	a := c.archive
	dir := filepath.Join(a.dir, blocksDir, name)
	if err := a.FS.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f := &file{path: filepath.Join(dir, runName(c.head.Run)+blocksSuffix), cluster: name, run: c.head.Run}
	c.started = append(c.started, f.path)
	head := c.head
	head.Kind = blockfile.Blocks
	var hosts []blockfile.HostIndex
	err := disk.Publish(a.FS, f.path, func(w io.Writer) error {
		blocks, err := blockfile.NewWriter(w, head)
		if err != nil {
			return err
		}
		err = c.snapshot.Hosts(name, func(h memstore.HostState) error {
			if a.gone.Load() != c.gone {
				return a.goneError()
			}
			sealed, open, n := split(h)
			c.hosts++
			c.blocks += n
			defer c.pace.rest()
			if c.windows != nil {
				index, err := c.windows.Add(open)
				c.listed.extend(index)
				if err != nil {
					return err
				}
			}
			if n == 0 {
				return nil
			}
			index, err := blocks.Add(sealed)
			hosts = append(hosts, index)
			return err
		})
		switch {
		case err != nil:
			return err
		case len(hosts) == 0:
			return errNoBlocks
		}
		err = blocks.Close()
		c.bytes += blocks.Size()
		f.listed = manifestFile{Name: path.Join(name, filepath.Base(f.path)), Bytes: blocks.Size(), Sum: sumText(blocks.Sum())}
		f.listed.extend(hosts...)
		return err
	})
	if errors.Is(err, errNoBlocks) {
		return nil
	}
	if err != nil {
		return err
	}
	c.files = append(c.files, writtenFile{f, hosts})
	return nil
}

// split divides a host's state: sealed goes to a block file and holds n blocks and freed ranges,
// open goes to the windows file.
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

// parseRun returns the run in a file's name.
func parseRun(name, prefix, suffix string) (run uint64, ok bool) {
	number, hasPrefix := strings.CutPrefix(name, prefix)
	number, hasSuffix := strings.CutSuffix(number, suffix)
	run, err := strconv.ParseUint(number, 10, 64)
	return run, hasPrefix && hasSuffix && err == nil
}

// list returns the files of a directory that are named after a run, oldest run first.
func list(fsys disk.FS, dir, prefix, suffix string) (paths []string, runs []uint64, err error) {
	entries, err := disk.List(fsys, dir)
	if err != nil {
		return nil, nil, err
	}
	byRun := make(map[uint64]string)
	for _, e := range entries {
		if run, ok := parseRun(e.Name(), prefix, suffix); ok {
			byRun[run] = filepath.Join(dir, e.Name())
		}
	}
	runs = slices.Sorted(maps.Keys(byRun))
	for _, run := range runs {
		paths = append(paths, byRun[run])
	}
	return paths, runs, nil
}

// expired reports whether an entry has left the retention and is archived, if it has to be.
func (a *Archive) expired(e *entry) bool {
	if e.end >= a.Store.Oldest(e.lane.cluster, e.lane.host) {
		return false
	}
	if a.Parquet == nil || e.freed {
		return true
	}
	for day := range e.days() {
		if !a.movedAll(e, day, math.MaxInt64) {
			return false
		}
	}
	return true
}

// removeWindows removes the windows files that the manifest does not list.
func (a *Archive) removeWindows() error {
	paths, _, err := list(a.FS, a.dir, windowsPrefix, windowsSuffix)
	for _, path := range paths {
		if !slices.ContainsFunc(a.windows, func(f manifestFile) bool { return f.Name == filepath.Base(path) }) {
			err = errors.Join(err, a.FS.Remove(path))
		}
	}
	return err
}

// removeBlocks removes block files whose entries have all expired or are superseded. First it
// publishes a manifest without them, so that they are not missing at the next start.
func (a *Archive) removeBlocks() (err error) {
	a.catalog.drop(a.expired)
	removable := func(f *file) bool { return f.live == 0 && !f.unreadable }
	files := slices.Collect(maps.Keys(a.catalog.files))
	files = slices.DeleteFunc(files, func(f *file) bool { return !removable(f) })
	if len(files) == 0 {
		return nil
	}
	slices.SortFunc(files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	j := a.journal.Load()
	if j == nil {
		return ErrNotRestored
	}
	if err := a.publishManifest(j.Names(), nil, removable); err != nil {
		return err
	}
	dirs := make(map[string]bool)
	for _, f := range files {
		if e := a.FS.Remove(f.path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
			continue
		}
		delete(a.catalog.files, f)
		dirs[filepath.Dir(f.path)] = true
	}
	return errors.Join(err, a.syncDirs(dirs))
}

// syncDirs makes removals survive a loss of power. Files that came back later would not be in the
// manifest.
func (a *Archive) syncDirs(dirs map[string]bool) (err error) {
	for _, dir := range slices.Sorted(maps.Keys(dirs)) {
		err = errors.Join(err, a.FS.SyncDir(dir))
	}
	a.marks.forgetFreed(a.catalog.files)
	return err
}
