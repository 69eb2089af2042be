package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
)

// directory is what a directory holds, compared with its manifest. A start and [Verify] use it, so
// that both say the same.
type directory struct {
	fsys disk.FS
	root string

	manifest   *manifest // nil: none, as in directories of version 1
	previous   *manifest // of the generation before, or nil
	generation uint64    // the highest one
	store      uuid.UUID // zero: unknown

	// Problems that listing the files shows: a *[disk.DamageError], *[disk.ForeignError] or
	// *[disk.MissingError] each.
	problems []error

	marks *storedMarks // nil: none

	windows     []foundFile // newest run first
	blocks      []foundFile // by cluster, oldest run first
	missingRuns []uint64    // of block files
	removed     []string    // files that an interrupted checkpoint or cleanup would have removed
}

// foundFile is a block or windows file.
type foundFile struct {
	path    string
	name    string // in the manifest
	cluster string // of a block file
	run     uint64
	listed  *manifestFile // nil: the manifest does not list it
}

// examine lists the files of an archive.
func examine(ctx context.Context, fsys disk.FS, root string) (*directory, error) {
	d := &directory{fsys: fsys, root: root}
	if err := d.readManifests(); err != nil {
		return nil, err
	}
	if err := d.findMarks(); err != nil {
		return nil, err
	}
	if err := d.findWindows(); err != nil {
		return nil, err
	}
	if err := d.findBlocks(ctx); err != nil {
		return nil, err
	}
	if d.manifest != nil {
		d.store = d.manifest.Store
		return d, nil
	}
	if err := d.identify(ctx); err != nil {
		return nil, err
	}
	if d.store != uuid.Nil {
		d.problems = append(d.problems, &disk.MissingError{Path: filepath.Join(root, manifestPrefix+"*")})
	}
	return d, nil
}

// readManifests reads the manifests. If the newest one is of another store than the windows files,
// an older one that fits is used.
func (d *directory) readManifests() error {
	entries, err := disk.List(d.fsys, d.root)
	if err != nil {
		return err
	}
	var sound []*manifest
	for _, e := range slices.Backward(entries) { // names have leading zeros
		generation, ok := parseManifestName(e.Name())
		if !ok {
			continue
		}
		d.generation = max(d.generation, generation)
		path := filepath.Join(d.root, e.Name())
		content, err := readFile(d.fsys, path)
		if err != nil {
			return err
		}
		m, err := parseManifest(content)
		if err == nil && m.Generation != generation {
			err = fmt.Errorf("expected generation %d as in its name, got %d", generation, m.Generation)
		}
		if version, ok := errors.AsType[*manifestVersionError](err); ok {
			return fmt.Errorf("%s: %w", path, version)
		}
		if err != nil {
			d.problems = append(d.problems, &disk.DamageError{Path: path, Err: err})
			continue
		}
		sound = append(sound, m)
	}
	if len(sound) == 0 {
		return nil
	}
	best := 0
	if slices.ContainsFunc(sound, func(m *manifest) bool { return m.Store != sound[0].Store }) {
		best = max(slices.IndexFunc(sound, d.fits), 0)
	}
	d.manifest = sound[best]
	for i, m := range sound {
		switch {
		case m.Store != d.manifest.Store:
			path := filepath.Join(d.root, manifestName(m.Generation))
			d.problems = append(d.problems, &disk.ForeignError{Path: path, Err: fmt.Errorf("expected a manifest of store %v, got one of %v", d.manifest.Store, m.Store)})
		case i > best && d.previous == nil:
			d.previous = m
		}
	}
	return nil
}

// fits reports whether the newest windows file that a manifest lists is there.
func (d *directory) fits(m *manifest) bool {
	if len(m.Windows) == 0 {
		return false
	}
	f, err := blockfile.Open(d.fsys, filepath.Join(d.root, m.Windows[0].Name))
	if err != nil {
		return false
	}
	sum := sumText(f.Sum())
	return f.Close() == nil && sum == m.Windows[0].Sum
}

func readFile(fsys disk.FS, path string) ([]byte, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

func (d *directory) findWindows() error {
	paths, runs, err := list(d.fsys, d.root, windowsPrefix, windowsSuffix)
	if err != nil {
		return err
	}
	found := make(map[string]bool)
	for i, path := range slices.Backward(paths) {
		f := foundFile{path: path, name: filepath.Base(path), run: runs[i]}
		if listed, ok := d.manifest.windowsNamed(f.name); ok {
			f.listed = &listed
			found[f.name] = true
		}
		d.windows = append(d.windows, f)
	}
	if d.manifest == nil {
		return nil
	}
	complete := true
	for _, f := range d.manifest.Windows {
		if !found[f.Name] {
			complete = false
			d.problems = append(d.problems, f.missing(d.root))
		}
	}
	d.windows = slices.DeleteFunc(d.windows, func(f foundFile) bool {
		_, before := d.previous.windowsNamed(f.name)
		switch {
		case f.listed != nil:
			return false
		case f.run > d.manifest.Run || before || complete:
			d.removed = append(d.removed, f.path)
		default:
			d.problems = append(d.problems, unlisted(f.path))
		}
		return true
	})
	return nil
}

func (f *manifestFile) missing(dir string) *disk.MissingError {
	m := &disk.MissingError{Path: filepath.Join(dir, filepath.FromSlash(f.Name))}
	if f.To != 0 {
		m.From, m.To = time.Unix(f.From, 0), time.Unix(f.To, 0)
	}
	return m
}

func unlisted(path string) *disk.ForeignError {
	return &disk.ForeignError{Path: path, Err: errors.New("expected a file that the manifest lists")}
}

func (d *directory) findBlocks(ctx context.Context) error {
	clusters, err := clusterDirs(d.fsys, d.root)
	if err != nil {
		return err
	}
	listed, before := d.manifest.blocksByName(), d.previous.blocksByName()
	found := make(map[string]bool)
	for _, cluster := range clusters {
		if err := ctx.Err(); err != nil {
			return err
		}
		paths, runs, err := list(d.fsys, filepath.Join(d.root, blocksDir, cluster), "", blocksSuffix)
		if err != nil {
			return err
		}
		for i, p := range paths {
			f := foundFile{path: p, name: path.Join(cluster, filepath.Base(p)), cluster: cluster, run: runs[i]}
			found[f.name] = true
			if l, ok := listed[f.name]; ok {
				f.listed = &l
			}
			_, leftover := before[f.name]
			switch {
			case d.manifest == nil || f.listed != nil || f.run > d.manifest.Run: // of an interrupted checkpoint
				d.blocks = append(d.blocks, f)
			case leftover:
				d.removed = append(d.removed, f.path)
			default:
				d.problems = append(d.problems, unlisted(f.path))
			}
		}
	}
	if d.manifest == nil {
		return nil
	}
	for _, f := range d.manifest.Blocks {
		if !found[f.Name] {
			d.problems = append(d.problems, f.missing(filepath.Join(d.root, blocksDir)))
			run, _ := parseRun(path.Base(f.Name), "", blocksSuffix)
			d.missingRuns = append(d.missingRuns, run)
		}
	}
	return nil
}

// identify finds out to which store a directory without a manifest belongs.
func (d *directory) identify(ctx context.Context) error {
	for _, f := range slices.Concat(d.windows, d.blocks) {
		opened, err := blockfile.Open(d.fsys, f.path)
		if err != nil {
			continue // is reported when it is read
		}
		d.store = opened.Store
		if err := opened.Close(); err != nil {
			return err
		}
		if d.store != uuid.Nil {
			return nil
		}
	}
	var err error
	d.store, err = journal.StoreOf(ctx, d.fsys, filepath.Join(d.root, journalDir))
	return err
}

// lineage returns what is known about the journal.
func (d *directory) lineage() journal.Lineage {
	if d.manifest != nil {
		return d.manifest.lineage()
	}
	return journal.Lineage{Store: d.store}
}

// journalFrom returns the number of the first segment that must be there.
func (d *directory) journalFrom() uint64 {
	if d.manifest != nil {
		return d.manifest.JournalFrom
	}
	return 0
}

// check returns why an open file is not the one that belongs at its place, or nil.
func (d *directory) check(f *blockfile.File, at foundFile, kind blockfile.Kind) error {
	var err error
	switch {
	case f.Store != d.store && f.Store != uuid.Nil:
		err = fmt.Errorf("expected a file of store %v, got one of %v", d.store, f.Store)
	case f.Kind != kind:
		err = fmt.Errorf("expected a file of %v, got one of %v", kind, f.Kind)
	case f.Run != at.run:
		err = fmt.Errorf("expected run %d as in its name, got %d", at.run, f.Run)
	case at.listed != nil && at.listed.Sum != "" && f.Sum() != 0 && sumText(f.Sum()) != at.listed.Sum:
		err = errors.New("expected the file that the manifest lists, got another one")
	case at.listed == nil && d.manifest != nil && f.Store == uuid.Nil:
		err = errors.New("expected a file that the manifest lists")
	}
	for _, h := range f.Hosts {
		if kind == blockfile.Blocks && h.Cluster != at.cluster && err == nil {
			err = fmt.Errorf("expected hosts of cluster %s, got one of %s", at.cluster, h.Cluster)
		}
	}
	if err != nil {
		return &disk.ForeignError{Path: at.path, Err: err}
	}
	return nil
}

// asListed returns the entry of a file for the next manifest.
func asListed(name string, f *blockfile.File) manifestFile {
	m := manifestFile{Name: name, Bytes: f.Size(), Sum: sumText(f.Sum())}
	m.extend(f.Hosts...)
	if f.Kind == blockfile.Windows {
		m.Journal = f.Journal
	}
	return m
}
