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

// Each snapshot is a directory below snapshots/, named after its time. While it is unfinished its
// name ends in unfinishedSuffix.
const (
	snapshotsDir     = "snapshots"
	snapshotTime     = "20060102T150405.000Z"
	unfinishedSuffix = ".tmp"
)

// SnapshotInfo describes a copy of the archive's files.
type SnapshotInfo struct {
	Path  string // of its directory; a copy of it can serve as Options.Dir
	Time  time.Time
	Files int
	Bytes int64 // of all its files, which share their blocks on disk with the archive's files
}

// Snapshot makes a consistent copy of the files by hard links. It contains everything that was
// acknowledged before the call. Writes continue meanwhile; checkpoints wait. The errors are those
// of Write and of the disk; then there is no copy.
//
// A snapshot keeps its files on disk after the archive has removed them, until the operator deletes
// the snapshot. Its files must not be modified, as the archive may still use them.
func (a *Archive) Snapshot(ctx context.Context) (SnapshotInfo, error) {
	a.checkpointMu.Lock() // so that no file is removed meanwhile
	defer a.checkpointMu.Unlock()
	at, path, err := a.snapshotPath()
	if err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot: %w", err)
	}
	l := linker{Archive: a, ctx: ctx, root: filepath.Join(path+unfinishedSuffix, subdir)}
	if err := l.link(path); err != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot: %w", errors.Join(err, a.removeUnfinishedSnapshots()))
	}
	return SnapshotInfo{Path: path, Time: at, Files: l.files, Bytes: l.bytes}, nil
}

// snapshotPath returns the time of a new snapshot and its path, which is unused even if the clock
// stands still or was set back.
func (a *Archive) snapshotPath() (time.Time, string, error) {
	for at := a.Now().UTC(); ; at = at.Add(time.Millisecond) {
		path := filepath.Join(a.dir, snapshotsDir, at.Format(snapshotTime))
		if _, err := a.FS.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return at, path, nil
		} else if err != nil {
			return at, "", err
		}
	}
}

// linker links the archive's files into a snapshot.
type linker struct {
	*Archive
	ctx   context.Context
	root  string // counterpart of the archive's directory
	files int
	bytes int64
}

func (l *linker) link(path string) error {
	if err := l.removeUnfinishedSnapshots(); err != nil {
		return err
	}
	if err := l.linkJournal(); err != nil {
		return err
	}
	if err := l.linkDir("", windowsSuffix); err != nil {
		return err
	}
	if err := l.linkFile(marksName); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	clusters, err := clusterDirs(l.FS, l.dir)
	if err != nil {
		return err
	}
	for _, cluster := range clusters {
		if err := l.linkDir(filepath.Join(blocksDir, cluster), blocksSuffix); err != nil {
			return err
		}
	}
	if err := l.FS.Rename(path+unfinishedSuffix, path); err != nil {
		return err
	}
	return l.FS.SyncDir(filepath.Dir(path))
}

// linkJournal starts a new segment and links the older ones, which are complete and hold everything
// that was acknowledged.
func (l *linker) linkJournal() error {
	if err := l.checkAvailable(l.ctx); err != nil {
		return err
	}
	j := l.journal.Load()
	current, err := j.Rotate()
	if err != nil {
		return err
	}
	if err := l.FS.MkdirAll(filepath.Join(l.root, journalDir), 0o750); err != nil {
		return err
	}
	for _, s := range j.Segments() {
		if s.Number >= current {
			continue
		}
		if err := l.linkFile(filepath.Join(journalDir, filepath.Base(s.Path))); err != nil {
			return err
		}
	}
	return l.FS.SyncDir(filepath.Join(l.root, journalDir))
}

// linkDir links the files with a suffix in a directory, whose name is relative to the archive's.
func (l *linker) linkDir(name, suffix string) error {
	entries, err := disk.List(l.FS, filepath.Join(l.dir, name))
	if err != nil {
		return err
	}
	to := filepath.Join(l.root, name)
	if err := l.FS.MkdirAll(to, 0o750); err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		if err := l.linkFile(filepath.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return l.FS.SyncDir(to)
}

func (l *linker) linkFile(name string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	from := filepath.Join(l.dir, name)
	info, err := l.FS.Stat(from)
	if err != nil {
		return err
	}
	l.files++
	l.bytes += info.Size()
	return l.FS.Link(from, filepath.Join(l.root, name))
}

// removeUnfinishedSnapshots removes snapshots that were interrupted.
func (a *Archive) removeUnfinishedSnapshots() error {
	root := filepath.Join(a.dir, snapshotsDir)
	entries, err := disk.List(a.FS, root)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), unfinishedSuffix) {
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
