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

	Foreign []*disk.ForeignError // segments of other stores or from other times, which are not read
	Missing []*disk.MissingError // segments

	Damage      []*disk.DamageError // the first 100 places
	DamageTotal int
	Lost        int // records known to be missing between others

	// Unreadable are the segments of which parts could not be read, oldest first. That is no damage:
	// they stay as they are, and may be readable later.
	Unreadable []Unreadable
}

// Unreadable is a segment of which a part could not be read.
type Unreadable struct {
	Segment uint64
	Err     *disk.ReadError // for the first part
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

// Read calls f with all sound records of a directory that are in segments from a number on, in
// order and in bounded memory, and changes nothing. The error is that of f, of ctx, or of opening
// the files; damage and what cannot be read are in the report.
func Read(ctx context.Context, fsys disk.FS, dir string, lineage Lineage, from uint64, f RecordFunc) (Report, error) {
	segments, err := listIfExists(ctx, fsys, dir)
	if err != nil {
		return Report{}, err
	}
	segments, foreign := lineage.divide(segments, dir)
	report, _, err := read(ctx, fsys, dir, segments, &lineage, from, f)
	report.Foreign = foreign
	return report, err
}

// Replay calls f with the records that were there when the journal was opened, as [Read] does. It
// truncates torn ends, and gives each damaged segment a second name that ends in .damaged, which
// [Journal.Drop] does not remove. It renames segments that do not belong to the directory; their
// names then end in .foreign. Append may be called meanwhile, but not Drop or Replay.
func (j *Journal) Replay(ctx context.Context, from uint64, f RecordFunc) (Report, error) {
	report, defects, err := read(ctx, j.fs, j.dir, j.remaining(), &j.lineage, from, f)
	report.Foreign = j.foreign
	if err != nil {
		return report, err
	}
	if err := j.setAside(); err != nil {
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
	remains := map[segmentID]bool{j.current.segmentID: true, j.replaced: true}
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

func read(ctx context.Context, fsys disk.FS, dir string, segments []segment, lineage *Lineage, from uint64, f RecordFunc) (Report, []defect, error) {
	report := Report{Missing: append(lineage.missing(segments, dir), lineage.gaps(segments, dir)...)}
	var defects []defect
	for i, s := range segments {
		if s.number < from {
			continue
		}
		if i == len(segments)-1 && s.size < s.header { // its creation was interrupted
			report.Segments, report.Torn, report.TornBytes = report.Segments+1, report.Torn+1, report.TornBytes+s.size
			break
		}
		r := reader{ctx: ctx, segment: s, path: s.path(dir), next: following(segments, i), handle: f, report: &report}
		torn, damage := report.Torn, report.DamageTotal
		if err := r.read(fsys); err != nil {
			return report, nil, err
		}
		if r.window.err != nil {
			report.Unreadable = append(report.Unreadable, Unreadable{s.number, &disk.ReadError{Path: r.path, Offset: r.window.errAt, Err: r.window.err}})
		} else if report.DamageTotal > damage || report.Torn > torn {
			defects = append(defects, defect{r.path, s.segmentID, r.offset, report.DamageTotal > damage})
		}
	}
	return report, defects, nil
}

// following returns the segment that says where segment i ends, or the zero segment.
func following(segments []segment, i int) segment {
	if i+1 < len(segments) && segments[i+1].after.number == segments[i].number {
		return segments[i+1]
	}
	return segment{}
}

// setAside renames the segments that do not belong to the directory.
func (j *Journal) setAside() error {
	for _, s := range j.foreign {
		if err := disk.SetAside(j.fs, s.Path, disk.ForeignSuffix); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	return nil
}
