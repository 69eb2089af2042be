package archive

import (
	"context"
	"errors"

	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore"
)

// write is the state of one call of [Archive.Write].
type write struct {
	archive *Archive
	record  memstore.Record
	add     func(*memstore.Record) error // addRecord, allocated once

	ctx     context.Context
	batch   []memstore.Sample
	segment uint64 // that the record was made for
	added   journal.Added
}

func newWrite(a *Archive) *write {
	w := &write{archive: a}
	w.add = w.addRecord
	return w
}

// addRecord adds the record to the journal, which decides its place there.
func (w *write) addRecord(r *memstore.Record) (err error) {
	j := w.archive.journal.Load()
	for {
		w.added, err = j.Add(w.ctx, w.segment, r.Bytes())
		if !errors.Is(err, journal.ErrMoved) {
			return err
		}
		w.segment = j.Segment()
		r.Move(w.segment, w.batch)
	}
}

// wait returns when the record is in the journal, if there is one.
func (w *write) wait() error {
	if w.added == (journal.Added{}) {
		return nil
	}
	if err := w.added.Wait(w.ctx); err != nil {
		return err
	}
	w.record.Commit()
	return nil
}

func (w *write) reset() {
	w.record.Reset()
	w.ctx, w.batch, w.added = nil, nil, journal.Added{}
}
