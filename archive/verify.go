package archive

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
)

// Verified is the result of [Verify].
type Verified struct {
	Files   int // block and windows files
	Blocks  int
	Values  int64 // samples in the blocks, superseded ones included
	Records int   // in the journal
	// Problems are what a start would report: damaged, missing and foreign files.
	Problems []error
}

// Verify reads all files of the archive in dir (the configuration's checkpoints.directory) and
// changes nothing. Damage, with path and offset, files that are missing and files that do not belong
// are in the result, as are files that an earlier start has set aside. The error is one of reading
// the directory, or of ctx. The archive should not be in use: files that are removed meanwhile count
// as damage.
func Verify(ctx context.Context, fsys disk.FS, dir string) (Verified, error) {
	v := verifier{ctx: ctx, fsys: fsys}
	if err := v.verify(filepath.Join(dir, subdir)); err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	return v.Verified, nil
}

type verifier struct {
	ctx  context.Context
	fsys disk.FS
	Verified
}

func (v *verifier) verify(root string) error {
	d, err := examine(v.ctx, v.fsys, root)
	if err != nil {
		return err
	}
	v.Problems = append(v.Problems, d.problems...)
	clusters, err := clusterDirs(v.fsys, root)
	if err != nil {
		return err
	}
	dirs := []string{root, filepath.Join(root, journalDir)}
	for _, c := range clusters {
		dirs = append(dirs, filepath.Join(root, blocksDir, c))
	}
	for _, dir := range dirs {
		if err := v.findSetAside(dir); err != nil {
			return err
		}
	}
	for _, f := range d.windows {
		if err := v.verifyFile(d, f, blockfile.Windows); err != nil {
			return err
		}
	}
	for _, f := range d.blocks {
		if err := v.verifyFile(d, f, blockfile.Blocks); err != nil {
			return err
		}
	}
	return v.verifyJournal(d)
}

func (v *verifier) verifyFile(d *directory, at foundFile, kind blockfile.Kind) error {
	s, err := blockfile.Verify(v.ctx, v.fsys, at.path, func(f *blockfile.File) error { return d.check(f, at, kind) })
	if v.ctx.Err() != nil {
		return v.ctx.Err()
	}
	v.Files++
	v.Blocks += s.Blocks
	v.Values += s.Values
	for _, d := range s.Damage {
		v.Problems = append(v.Problems, d)
	}
	for _, u := range s.Unreadable {
		v.Problems = append(v.Problems, u)
	}
	if err != nil {
		v.Problems = append(v.Problems, err)
	}
	return nil
}

// findSetAside reports the files that an earlier start has set aside.
func (v *verifier) findSetAside(dir string) error {
	entries, err := disk.List(v.fsys, dir)
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasSuffix(path, damagedSuffix):
			v.Problems = append(v.Problems, fmt.Errorf("%s: an earlier start found this file damaged and kept it", path))
		case strings.HasSuffix(path, disk.ForeignSuffix):
			v.Problems = append(v.Problems, fmt.Errorf("%s: an earlier start found that this file does not belong here and kept it", path))
		}
	}
	return err
}

func (v *verifier) verifyJournal(d *directory) error {
	dir := filepath.Join(d.root, journalDir)
	entries, err := disk.List(v.fsys, dir)
	if err != nil || len(entries) == 0 && d.manifest == nil {
		return err
	}
	report, err := journal.Read(v.ctx, v.fsys, dir, d.lineage(), d.journalFrom(), func(uint64, int64, []byte) error { return nil })
	v.Records = report.Records
	for _, d := range report.Damage {
		v.Problems = append(v.Problems, d)
	}
	if n := report.DamageTotal - len(report.Damage); n > 0 {
		v.Problems = append(v.Problems, fmt.Errorf("%s: damaged at %d more places", dir, n))
	}
	for _, u := range report.Unreadable {
		v.Problems = append(v.Problems, u.Err)
	}
	for _, f := range report.Foreign {
		v.Problems = append(v.Problems, f)
	}
	for _, m := range report.Missing {
		v.Problems = append(v.Problems, m)
	}
	return err
}
