package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/ringstore/ringstore/archive/disk"
)

// Report describes the contents of a journal.
type Report struct {
	Segments int   // read
	Records  int   // sound ones
	Bytes    int64 // of these records, without frame headers

	// Torn counts the segments whose last write was interrupted by the end of the process or a loss
	// of power; TornBytes are the bytes of incomplete records there.
	Torn      int
	TornBytes int64

	Damage      []*disk.DamageError // the first 100 places
	DamageTotal int
	Lost        int // records known to be missing between others
}

const maxDamage = 100

func (r *Report) addDamage(path string, offset int64, err error) {
	r.DamageTotal++
	if len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, &disk.DamageError{Path: path, Offset: offset, Err: err})
	}
}

// RecordFunc handles a record, which is valid only during the call. It gets the record's place: the
// number of the segment, and the offset of the frame in bytes. An error stops the reading.
type RecordFunc func(segment uint64, offset int64, record []byte) error

// Read calls f with all sound records of a directory, in order and in bounded memory, and changes
// nothing. The error is that of f, of ctx, or of opening the files; damage is in the report.
func Read(ctx context.Context, fsys disk.FS, dir string, f RecordFunc) (Report, error) {
	segments, err := list(ctx, fsys, dir)
	if err != nil {
		return Report{}, fmt.Errorf("journal: %w", err)
	}
	report, _, err := read(ctx, fsys, dir, segments, f)
	return report, err
}

// Replay calls f with the records that were there when the journal was opened, as [Read] does. It
// truncates torn ends, and gives each damaged segment a second name that ends in .damaged, which
// [Journal.Drop] does not remove. Append may be called meanwhile, but not Drop or Replay.
func (j *Journal) Replay(ctx context.Context, f RecordFunc) (Report, error) {
	report, defects, err := read(ctx, j.fs, j.dir, j.remaining(), f)
	if err != nil {
		return report, err
	}
	for _, d := range defects {
		if d.damaged {
			err = j.keepDamaged(d.path)
		} else {
			err = j.truncate(d)
		}
		if err != nil {
			report.addDamage(d.path, d.size, err)
		}
	}
	return report, nil
}

// remaining returns the segments that Open found and Drop has not removed.
func (j *Journal) remaining() []segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	remains := map[segmentID]bool{j.current.segmentID: true}
	for _, s := range j.old {
		remains[s.segmentID] = true
	}
	return slices.DeleteFunc(slices.Clone(j.found), func(s segment) bool { return !remains[s.segmentID] })
}

// keepDamaged gives a damaged segment its second name.
func (j *Journal) keepDamaged(path string) error {
	err := j.fs.Link(path, path+damagedSuffix)
	if errors.Is(err, fs.ErrExist) {
		return nil // an earlier replay has done it
	}
	if err == nil {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		return fmt.Errorf("linking to %s: %w", path+damagedSuffix, err)
	}
	return nil
}

// truncate cuts off a torn end.
func (j *Journal) truncate(d defect) error {
	f, err := j.fs.OpenFile(d.path, os.O_WRONLY, 0)
	if err == nil {
		err = errors.Join(f.Truncate(d.size), f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("truncating the torn end: %w", err)
	}
	i := slices.IndexFunc(j.found, func(s segment) bool { return s.segmentID == d.id })
	j.found[i].size = d.size
	return nil
}

// defect describes a segment that is damaged or has a torn end.
type defect struct {
	path    string
	id      segmentID
	size    int64 // up to the end of the last sound record
	damaged bool  // else torn
}

func read(ctx context.Context, fsys disk.FS, dir string, segments []segment, f RecordFunc) (Report, []defect, error) {
	var report Report
	var defects []defect
	for i, s := range segments {
		if i == len(segments)-1 && s.size < headerSize { // its creation was interrupted
			report.Segments, report.Torn, report.TornBytes = report.Segments+1, report.Torn+1, report.TornBytes+s.size
			break
		}
		reportMissing(&report, s, segments[:i], dir)
		r := reader{ctx: ctx, segment: s, path: s.path(dir), limit: endOf(segments, i), handle: f, report: &report}
		torn, damage := report.Torn, report.DamageTotal
		if err := r.read(fsys); err != nil {
			return report, nil, err
		}
		if report.DamageTotal > damage || report.Torn > torn {
			defects = append(defects, defect{r.path, s.segmentID, r.offset, report.DamageTotal > damage})
		}
	}
	return report, defects, nil
}

// endOf returns where segment i ends according to the next segment, or 0 if that does not say.
func endOf(segments []segment, i int) int64 {
	if i+1 < len(segments) && segments[i+1].after == segments[i].number {
		return segments[i+1].afterEnd
	}
	return 0
}

// reportMissing reports a gap between a segment and those before it.
func reportMissing(report *Report, s segment, before []segment, dir string) {
	if n := len(before); n > 0 && s.err == nil && s.after > before[n-1].number {
		report.addDamage(dir, 0, fmt.Errorf("segment %d is missing", s.after))
	}
}
