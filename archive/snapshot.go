package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
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

// Snapshot makes a consistent copy of the files by hard links, or without them by copies. It contains everything that was
// acknowledged before the call. Writes continue meanwhile; checkpoints wait. The errors are those
// of Write and of the disk; then there is no copy.
//
// A snapshot keeps its files on disk after the archive has removed them, until the operator deletes
// the snapshot. Its files must not be modified, as the archive may still use them.
func (a *Archive) Snapshot(ctx context.Context) (SnapshotInfo, error) {
	if a.readOnly != nil {
		return SnapshotInfo{}, fmt.Errorf("snapshot: %w", a.readOnly)
	}
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
	manifest := manifestName(l.generation)
	if _, err := l.FS.Stat(filepath.Join(l.dir, manifest)); errors.Is(err, fs.ErrNotExist) { // it was damaged
		if err := l.publishManifest(l.journal.Load().Names(), nil, nil); err != nil {
			return err
		}
		manifest = manifestName(l.generation)
	} else if err != nil {
		return err
	}
	files := []string{manifest}
	for _, f := range l.windows {
		files = append(files, f.Name)
	}
	if err := l.linkFiles("", files); err != nil {
		return err
	}
	byCluster := make(map[string][]string)
	for f := range l.catalog.files {
		byCluster[f.cluster] = append(byCluster[f.cluster], filepath.Base(f.path))
	}
	for _, cluster := range slices.Sorted(maps.Keys(byCluster)) {
		if err := l.linkFiles(filepath.Join(blocksDir, cluster), byCluster[cluster]); err != nil {
			return err
		}
	}
	if err := l.FS.MkdirAll(filepath.Join(l.root, lockName), 0o750); err != nil {
		return err
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
		name := filepath.Join(journalDir, filepath.Base(s.Path))
		switch {
		case s.Number < l.journalFrom || s.Number > current:
			continue
		case s.Number < current:
			err = l.linkFile(name)
		default: // the manifest lists it; records are being appended
			err = l.copyFile(name, journal.HeaderBytes)
		}
		if err != nil {
			return err
		}
	}
	return l.FS.SyncDir(filepath.Join(l.root, journalDir))
}

// linkFiles links files of a directory, whose name is relative to the archive's.
func (l *linker) linkFiles(dir string, names []string) error {
	to := filepath.Join(l.root, dir)
	if err := l.FS.MkdirAll(to, 0o750); err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		if err := l.linkFile(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return l.FS.SyncDir(to)
}

// linkFile links a file, or copies it if the file system has no hard links.
func (l *linker) linkFile(name string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	from := filepath.Join(l.dir, name)
	info, err := l.FS.Stat(from)
	if err != nil {
		return err
	}
	err = l.FS.Link(from, filepath.Join(l.root, name))
	if hasNoLinks(err) {
		return l.copyFile(name, math.MaxInt64)
	}
	if err == nil {
		l.files++
		l.bytes += info.Size()
	}
	return err
}

// hasNoLinks reports whether an error of a link says that the file system has no hard links, or not
// this one.
func hasNoLinks(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.EXDEV, syscall.ENOTSUP, syscall.ENOSYS, syscall.EMLINK} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// copyFile copies at most the first bytes of a file.
func (l *linker) copyFile(name string, bytes int64) error {
	from, err := l.FS.OpenFile(filepath.Join(l.dir, name), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := l.FS.OpenFile(filepath.Join(l.root, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, &limited{ctx: l.ctx, r: from, left: bytes})
	if err == nil {
		err = to.Sync()
	}
	l.files++
	l.bytes += n
	return errors.Join(err, to.Close())
}

// limited reads at most left bytes, until ctx ends.
type limited struct {
	ctx  context.Context
	r    io.Reader
	left int64
}

func (l *limited) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	if l.left <= 0 {
		return 0, io.EOF
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
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
