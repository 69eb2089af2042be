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
	Damage  []error
}

// Verify reads all files of the archive in dir (the configuration's checkpoints.directory) and
// changes nothing. Damage is in the result, with path and offset; files that an earlier start found
// damaged are listed too. The error is one of reading the directory, or of ctx. The archive should
// not be in use: files that are removed meanwhile count as damage.
func Verify(ctx context.Context, fsys disk.FS, dir string) (Verified, error) {
	v := verifier{ctx: ctx, fsys: fsys}
	root := filepath.Join(dir, subdir)
	if err := v.verifyDir(root, windowsSuffix); err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	clusters, err := clusterDirs(fsys, root)
	if err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	for _, c := range clusters {
		if err := v.verifyDir(filepath.Join(root, blocksDir, c), blocksSuffix); err != nil {
			return v.Verified, fmt.Errorf("verify: %w", err)
		}
	}
	if err := v.verifyJournal(filepath.Join(root, journalDir)); err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	return v.Verified, nil
}

type verifier struct {
	ctx  context.Context
	fsys disk.FS
	Verified
}

// verifyDir reads the files with a suffix in a directory.
func (v *verifier) verifyDir(dir, suffix string) error {
	entries, err := disk.List(v.fsys, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		v.checkName(path)
		if !strings.HasSuffix(e.Name(), suffix) {
			continue
		}
		s, err := blockfile.Verify(v.ctx, v.fsys, path)
		if v.ctx.Err() != nil {
			return v.ctx.Err()
		}
		v.Files++
		v.Blocks += s.Blocks
		v.Values += s.Values
		for _, d := range s.Damage {
			v.Damage = append(v.Damage, d)
		}
		if err != nil {
			v.Damage = append(v.Damage, err)
		}
	}
	return nil
}

// checkName reports a file that an earlier start found damaged.
func (v *verifier) checkName(path string) {
	if strings.HasSuffix(path, damagedSuffix) {
		v.Damage = append(v.Damage, fmt.Errorf("%s: an earlier start found this file damaged and kept it", path))
	}
}

func (v *verifier) verifyJournal(dir string) error {
	entries, err := disk.List(v.fsys, dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	for _, e := range entries {
		v.checkName(filepath.Join(dir, e.Name()))
	}
	report, err := journal.Read(v.ctx, v.fsys, dir, func(uint64, int64, []byte) error { return nil })
	v.Records = report.Records
	for _, d := range report.Damage {
		v.Damage = append(v.Damage, d)
	}
	if n := report.DamageTotal - len(report.Damage); n > 0 {
		v.Damage = append(v.Damage, fmt.Errorf("%s: damaged at %d more places", dir, n))
	}
	return err
}
