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

// Verified is what [Verify] found.
type Verified struct {
	Files   int // of blocks and windows
	Blocks  int
	Values  int64 // in them, superseded ones too
	Records int   // of the journal
	Damage  []error
}

// Verify reads all of the files that an archive has in dir (the configuration's
// checkpoints.directory), and changes nothing. Damage is in the result, with path
// and offset; files that were set aside before are told too. An error is one of
// reading the directory, or ctx's. The archive should not be in use: files that
// vanish meanwhile are damage.
func Verify(ctx context.Context, fsys disk.FS, dir string) (Verified, error) {
	v := verification{ctx: ctx, fsys: fsys}
	root := filepath.Join(dir, subdir)
	if err := v.directory(root, windowsSuffix); err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	clusters, err := clusterDirs(fsys, root)
	if err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	for _, c := range clusters {
		if err := v.directory(filepath.Join(root, blocksDir, c), blocksSuffix); err != nil {
			return v.Verified, fmt.Errorf("verify: %w", err)
		}
	}
	if err := v.journal(filepath.Join(root, journalDir)); err != nil {
		return v.Verified, fmt.Errorf("verify: %w", err)
	}
	return v.Verified, nil
}

type verification struct {
	ctx  context.Context
	fsys disk.FS
	Verified
}

// directory reads the files of a directory that have a suffix.
func (v *verification) directory(dir, suffix string) error {
	entries, err := disk.List(v.fsys, dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		v.aside(path)
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

// aside tells of a file that was found damaged before.
func (v *verification) aside(path string) {
	if strings.HasSuffix(path, damagedSuffix) {
		v.Damage = append(v.Damage, fmt.Errorf("%s: was found damaged by a start before, and set aside", path))
	}
}

func (v *verification) journal(dir string) error {
	entries, err := disk.List(v.fsys, dir)
	if err != nil || len(entries) == 0 {
		return err
	}
	for _, e := range entries {
		v.aside(filepath.Join(dir, e.Name()))
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
