package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
)

// Snapshots lie below snapshots/, each in a directory named for its moment. One
// that is not finished has a name of its own until it is.
const (
	snapshotsDir   = "snapshots"
	snapshotTime   = "20060102T150405.000Z"
	unfinishedMark = ".tmp"
)

// SnapshotInfo describes a copy of the archive's files.
type SnapshotInfo struct {
	Path  string // of its directory, which a copy of can take the place of Options.Dir
	Time  time.Time
	Files int
	Bytes int64 // that they have together; they share them with the archive's own
}

// Snapshot makes a consistent copy of the files by hard links: all that was
// acknowledged before is in it. Writes go on meanwhile, a checkpoint waits. The
// errors are those of Write, or of the disk; then there is no copy.
//
// A copy keeps on disk what the archive has dropped since. Nobody removes it but
// its owner. Its files must not be changed, as some are still the archive's.
func (a *Archive) Snapshot(ctx context.Context) (SnapshotInfo, error) {
	a.checkpointing.Lock() // until then nothing that is there goes
	defer a.checkpointing.Unlock()
	at, path, err := a.moment()
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot: %w", err)
	}
	c := linking{Archive: a, ctx: ctx, root: filepath.Join(path+unfinishedMark, subdir)}
	if err := c.run(path); err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot: %w", errors.Join(err, a.removeUnfinished()))
	}
	return SnapshotInfo{Path: path, Time: at, Files: c.files, Bytes: c.bytes}, nil
}

// moment returns the time that a snapshot is named for, which no other one is, and
// where it goes. The clock may stand still, or have gone back.
func (a *Archive) moment() (time.Time, string, error) {
	for at := a.Now().UTC(); ; at = at.Add(time.Millisecond) {
		path := filepath.Join(a.dir, snapshotsDir, at.Format(snapshotTime))
		if _, err := a.FS.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return at, path, nil
		} else if err != nil {
			return at, "", err
		}
	}
}

// linking is the work of a snapshot.
type linking struct {
	*Archive
	ctx   context.Context
	root  string // stands for the archive's directory
	files int
	bytes int64
}

func (c *linking) run(path string) error {
	if err := c.removeUnfinished(); err != nil {
		return err
	}
	if err := c.journal(); err != nil {
		return err
	}
	if err := c.directory("", windowsSuffix); err != nil {
		return err
	}
	clusters, err := clusterDirs(c.FS, c.dir)
	if err != nil {
		return err
	}
	for _, cluster := range clusters {
		if err := c.directory(filepath.Join(blocksDir, cluster), blocksSuffix); err != nil {
			return err
		}
	}
	if err := c.FS.Rename(path+unfinishedMark, path); err != nil {
		return err
	}
	return c.FS.SyncDir(filepath.Dir(path))
}

// journal links the segments that nobody writes to any more, once all that was
// acknowledged is in these.
func (c *linking) journal() error {
	if err := c.available(c.ctx); err != nil {
		return err
	}
	j := c.Archive.journal.Load()
	current, err := j.Rotate()
	if err != nil {
		return err
	}
	if err := c.FS.MkdirAll(filepath.Join(c.root, journalDir), 0o750); err != nil {
		return err
	}
	for _, s := range j.Segments() {
		if s.Number >= current {
			continue
		}
		if err := c.link(filepath.Join(journalDir, filepath.Base(s.Path))); err != nil {
			return err
		}
	}
	return c.FS.SyncDir(filepath.Join(c.root, journalDir))
}

// directory links the files of a directory, below the archive's, that have a
// suffix.
func (c *linking) directory(name, suffix string) error {
	entries, err := disk.List(c.FS, filepath.Join(c.dir, name))
	if err != nil {
		return err
	}
	to := filepath.Join(c.root, name)
	if err := c.FS.MkdirAll(to, 0o750); err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		if err := c.link(filepath.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return c.FS.SyncDir(to)
}

func (c *linking) link(name string) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	from := filepath.Join(c.dir, name)
	info, err := c.FS.Stat(from)
	if err != nil {
		return err
	}
	c.files++
	c.bytes += info.Size()
	return c.FS.Link(from, filepath.Join(c.root, name))
}

// removeUnfinished removes what is left of snapshots that did not come to
// their end.
func (a *Archive) removeUnfinished() error {
	root := filepath.Join(a.dir, snapshotsDir)
	entries, err := disk.List(a.FS, root)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinishedMark) {
			err = errors.Join(err, a.removeAll(filepath.Join(root, e.Name())))
		}
	}
	return err
}

func (a *Archive) removeAll(dir string) error {
	entries, err := disk.List(a.FS, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if e.IsDir() {
			err = a.removeAll(path)
		} else {
			err = a.FS.Remove(path)
		}
		if err != nil {
			return err
		}
	}
	return a.FS.Remove(dir)
}
