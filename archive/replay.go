package archive

import (
	"errors"
	"path/filepath"
	"syscall"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// takeTombstones adds what the journal freed to the marks. It holds for all files that exist: what
// they have of later samples is in the journal too, behind the call of free.
func (r *restorer) takeTombstones() {
	for _, t := range r.store.Tombstones {
		t.Run = r.run
		r.marks.addFreed(t)
	}
	r.store.Tombstones = nil
}

// errUnindexed keeps a start from storing samples that would hide others on disk.
var errUnindexed = errors.New("the journal has samples of a time that this file may hold")

// fetch returns the blocks on disk of a lane that overlap a time range.
func (r *restorer) fetch(lane memstore.LaneName, begin, end int64) (states []memstore.HostState, err error) {
	r.takeTombstones()
	for _, e := range r.catalog.lanes[laneKey{lane.Cluster, lane.Host, lane.Frequency}] {
		if e.freed || !e.overlaps(begin, end) {
			continue
		}
		state, readErr := r.fetched.read(e)
		if readErr != nil {
			err = errors.Join(err, readErr)
			continue
		}
		states = append(states, state)
	}
	for f := range r.catalog.files {
		if f.cluster == lane.Cluster && r.hidden(f, begin) {
			err = errors.Join(err, &disk.ReadError{Path: f.path, Err: errUnindexed})
		}
	}
	return states, err
}

// replay opens the journal and applies its records, from segment replayFrom on.
func (r *restorer) replay(d *directory) (_ *journal.Journal, err error) {
	lineage := d.lineage()
	lineage.Store = r.storeID
	if r.readOnly != nil {
		return nil, r.replayReadOnly(lineage)
	}
	j, err := journal.Open(r.ctx, journal.Options{
		FS:     r.disk,
		Dir:    filepath.Join(r.dir, journalDir),
		Sync:   r.Options.Sync,
		First:  r.replayFrom,
		Health: r.journalHealth,
		Gone:   r.journalGone,

		Lineage:  lineage,
		Now:      r.Now,
		Observer: r.Observer,
	})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, j.Close())
		}
	}()
	if err := j.Drop(r.journalFrom); err != nil {
		r.Logger.Error("journal segments that are no longer needed could not be removed", "error", err)
	}
	size, done := j.SizeFrom(r.replayFrom), int64(0)
	r.total.Journal, err = j.Replay(r.ctx, r.replayFrom, func(segment uint64, offset int64, record []byte) error {
		done += int64(len(record))
		if r.progressDue() {
			r.Logger.Info("replaying the journal", "bytes", done, "of", size)
		}
		return r.record(segment, offset, record)
	})
	if err != nil {
		return nil, err
	}
	r.reportJournal()
	return j, nil
}

// record applies a record.
func (r *restorer) record(segment uint64, offset int64, record []byte) error {
	err := r.store.Record(record)
	if e := r.store.FetchError; e != nil {
		if damage, ok := errors.AsType[*disk.DamageError](e); !ok || errors.Is(damage, syscall.EIO) {
			return e // what the record changes would hide what cannot be read
		}
	}
	r.takeTombstones()
	r.relieve()
	if err != nil {
		r.total.Damaged++
		r.Logger.Error("a journal record is invalid and is skipped", "segment", segment, "offset", offset, "error", err)
	}
	return nil
}

// reportJournal reports what the replay has found.
func (r *restorer) reportJournal() {
	r.takeTombstones()
	for _, d := range r.total.Journal.Damage {
		r.Logger.Error("the journal is damaged; its undamaged records are replayed, and the segment is kept", "error", d)
	}
	for _, u := range r.total.Journal.Unreadable {
		r.reportUnreadable(u.Err)
		if r.unreadSegment == 0 {
			r.unreadSegment = u.Segment
		}
	}
	if n := r.total.Journal; n.Torn > 0 {
		r.Logger.Info("the journal ends in an incomplete record, as a kill or a loss of power leaves it; it was cut off", "bytes", n.TornBytes)
	}
	for _, f := range r.total.Journal.Foreign {
		r.total.Foreign++
		r.Logger.Error("a journal segment does not belong to this directory; it is not replayed and was renamed", "to", f.Path+disk.ForeignSuffix, "error", f)
	}
	for _, m := range r.total.Journal.Missing {
		r.reportMissing(m)
	}
	r.total.Damaged += r.total.Journal.DamageTotal
	if err := r.store.FetchError; err != nil {
		r.total.Damaged++
		r.Logger.Error("blocks that journal records belong to could not be read", "error", err)
	}
	if n := r.store.Dropped; n > 0 {
		r.Logger.Error("samples on disk could not be stored and are not restored", "samples", n)
	}
	if n := r.store.Lost; n > 0 {
		r.Logger.Error("samples in the journal are lost: the records that name their series are damaged", "samples", n)
	}
}
