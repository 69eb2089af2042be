package archive

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// windowsFiles are the windows files to restore, newest first: one that is undamaged, or else all
// that are readable.
type windowsFiles struct {
	files  []*blockfile.File
	paths  []string
	damage []error // the first of each file
	sound  bool
	// older is the file before the sound one. With the journal since then, it has the samples of the
	// blocks that later runs have written.
	older    string
	olderRun uint64
}

func (w *windowsFiles) close() {
	for _, f := range w.files {
		_ = f.Close() // was only read
	}
}

// journal returns the number of the first segment to replay.
func (w *windowsFiles) journal(d *directory) uint64 {
	if w.sound || d.manifest == nil && len(w.files) > 0 {
		return w.files[0].Journal
	}
	return d.journalFrom()
}

// openWindows opens the windows files. The journal reaches back to the older one, so that it takes
// the place of the newer one if that is damaged.
func (r *restorer) openWindows(d *directory) (windowsFiles, error) {
	var all windowsFiles
	var unreadable []error
	for _, at := range d.windows {
		r.run = max(r.run, at.run)
		before := r.total.Unreadable
		f, err := r.open(at.path)
		if r.total.Unreadable > before {
			unreadable = append(unreadable, fmt.Errorf("%s", at.path))
		}
		if err != nil {
			return all, err
		}
		if f == nil {
			continue
		}
		if foreign, ok := errors.AsType[*disk.ForeignError](d.check(f, at, blockfile.Windows)); ok {
			if err := errors.Join(f.Close(), r.setAsideForeign(foreign)); err != nil {
				return all, err
			}
			continue
		}
		if d.manifest == nil && len(all.files) > 0 { // the journal does not reach back to it
			if err := f.Close(); err != nil {
				return all, err
			}
			continue
		}
		if err := r.chooseWindows(&all, f, at); err != nil {
			return all, err
		}
	}
	if len(unreadable) > 0 && (len(all.files) == 0 || d.manifest == nil) {
		return all, fmt.Errorf("no windows file can be read: %w", errors.Join(unreadable...))
	}
	if len(all.files) > 0 {
		r.checkpoints.setLastDone(time.UnixMilli(int64(all.files[0].Run)))
	}
	return all, nil
}

// chooseWindows adds an open windows file, unless a newer one is sound. A sound one replaces all
// newer ones.
func (r *restorer) chooseWindows(all *windowsFiles, f *blockfile.File, at foundFile) error {
	listed := asListed(at.name, f)
	if all.sound {
		r.windows = append(r.windows, listed)
		if f.Run > all.olderRun {
			all.older, all.olderRun = at.path, f.Run
		}
		return f.Close()
	}
	damage := f.Check(r.ctx)
	if err := r.ctx.Err(); err != nil {
		return errors.Join(err, f.Close())
	}
	if damage == nil {
		for i, newer := range all.files {
			if len(newer.Damage) == 0 {
				r.reportDamage(all.paths[i], all.damage[i])
			}
			r.Logger.Warn("a windows file is damaged; the one before and the journal since then are restored instead", "damaged", all.paths[i], "restored", at.path)
		}
		all.close()
		*all = windowsFiles{sound: true}
		r.windows = nil
	}
	all.files, all.paths, all.damage = append(all.files, f), append(all.paths, at.path), append(all.damage, damage)
	r.windows = append(r.windows, listed)
	return nil
}

// restoreWindows restores all series, and the open windows unless a later, unfinished run has
// sealed them. Windows damaged in one file are restored from the next. A host that cannot be read in
// any of them ends the start: later checkpoints would make the loss final, and the next start chooses
// another file.
func (r *restorer) restoreWindows(w windowsFiles) error {
	var damaged map[hostKey]bool // in all files so far
	unreadable := make(map[hostKey]error)
	for i, f := range w.files {
		wanted := damaged
		damaged = make(map[hostKey]bool)
		for k, h := range f.Hosts {
			if err := r.ctx.Err(); err != nil {
				return err
			}
			key := hostKey{h.Cluster, h.Host}
			if i > 0 && !wanted[key] {
				continue
			}
			if err := r.restoreHost(f, k, true); err != nil {
				damaged[key] = true
				r.reportDamage(w.paths[i], err)
				if _, ok := errors.AsType[*disk.ReadError](err); ok {
					unreadable[key] = err
				}
			} else {
				delete(unreadable, key)
			}
			r.relieve()
		}
		if i == 0 && len(f.Damage) > 0 { // hosts may be missing
			for _, later := range w.files[1:] {
				for _, h := range later.Hosts {
					key := hostKey{h.Cluster, h.Host}
					damaged[key] = damaged[key] || !slices.ContainsFunc(f.Hosts, func(o blockfile.HostIndex) bool { return hostKey{o.Cluster, o.Host} == key })
				}
			}
		}
	}
	for key, err := range unreadable {
		return fmt.Errorf("the windows of %s/%s cannot be read: %w", key.cluster, key.host, err)
	}
	return nil
}

// restoreOlder restores those windows of an older file that nothing newer covers.
func (r *restorer) restoreOlder(path string) error {
	f, err := blockfile.Open(r.disk, path)
	if err != nil {
		return err
	}
	for i := range f.Hosts {
		err := r.restoreHost(f, i, false)
		if _, ok := errors.AsType[*disk.ReadError](err); ok {
			return errors.Join(err, f.Close())
		}
		if err != nil {
			r.reportDamage(path, err)
		}
	}
	return errors.Join(f.Close(), r.ctx.Err())
}

type hostKey struct{ cluster, host string }

// restoreHost restores host i of a windows file; see [memstore.Restorer.State]. The error reports the first damaged part; the
// others are restored.
func (r *restorer) restoreHost(f *blockfile.File, i int, recorded bool) error {
	h := &f.Hosts[i]
	tables, err := f.Series(i)
	if err != nil {
		return err
	}
	var damage error
	state := memstore.HostState{Cluster: h.Cluster, Host: h.Host, Number: h.Number}
	for k, l := range h.Lanes {
		ls := memstore.LaneState{Frequency: l.Frequency, Grid: l.Grid, Series: tables[k]}
		for _, w := range l.Windows {
			begin := l.Grid + w.First*l.Frequency
			if r.catalog.hasNewer(laneKey{h.Cluster, h.Host, l.Frequency}, f.Run, begin, begin+int64(w.Slots)*l.Frequency) {
				continue
			}
			b, err := f.Block(w)
			if err != nil {
				damage = cmp.Or(damage, err)
				continue
			}
			ls.Windows = append(ls.Windows, memstore.WindowState{Block: b, Open: true})
		}
		state.Lanes = append(state.Lanes, ls)
	}
	return cmp.Or(r.restoreState(state, recorded), damage)
}
