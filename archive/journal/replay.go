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

// CorruptionError tells where a file does not hold what was written.
type CorruptionError struct {
	Path   string
	Offset int64 // in bytes
	Err    error
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *CorruptionError) Unwrap() error { return e.Err }

// Report says what a journal held.
type Report struct {
	Segments int   // that were read
	Records  int   // that are sound
	Bytes    int64 // of those, without their frames

	// Torn counts the segments whose end was being written when the process
	// or the power went, TornBytes what is there that is no record.
	Torn      int
	TornBytes int64

	Damage      []*CorruptionError // the first 100 places
	DamageTotal int
	Lost        int // records that are known to be missing between others
}

const maxDamage = 100

func (r *Report) damaged(path string, offset int64, err error) {
	r.DamageTotal++
	if len(r.Damage) < maxDamage {
		r.Damage = append(r.Damage, &CorruptionError{path, offset, err})
	}
}

// Record is given a record, which is only good until it returns, and where it
// stands: the number of the segment, and the offset of its frame in bytes. An
// error ends the reading.
type Record func(segment uint64, offset int64, record []byte) error

// Read gives all sound records of a directory to f, in their order and in
// bounded memory, and changes nothing. An error is f's, ctx's, or one of
// opening the files; damage is in the report.
func Read(ctx context.Context, fsys disk.FS, dir string, f Record) (Report, error) {
	segments, err := list(ctx, fsys, dir)
	if err != nil {
		return Report{}, fmt.Errorf("journal: %w", err)
	}
	report, _, err := read(ctx, fsys, dir, segments, f)
	return report, err
}

// Replay gives the records that were there when the journal was opened to f,
// as [Read] does. It cuts off torn ends, and gives each damaged segment a
// second name that ends in .damaged: [Journal.Drop] removes the first one only.
// Records may be appended meanwhile; Drop and another Replay must wait.
func (j *Journal) Replay(ctx context.Context, f Record) (Report, error) {
	report, ends, err := read(ctx, j.fs, j.dir, j.present(), f)
	if err != nil {
		return report, err
	}
	for _, e := range ends {
		if e.damaged {
			err = j.setAside(e.path)
		} else {
			err = j.cut(e)
		}
		if err != nil {
			report.damaged(e.path, e.size, err)
		}
	}
	return report, nil
}

// present is what was found and has not been dropped.
func (j *Journal) present() []segment {
	j.mu.Lock()
	defer j.mu.Unlock()
	there := map[segmentID]bool{j.current.segmentID: true}
	for _, s := range j.old {
		there[s.segmentID] = true
	}
	return slices.DeleteFunc(slices.Clone(j.found), func(s segment) bool { return !there[s.segmentID] })
}

func (j *Journal) setAside(path string) error {
	err := j.fs.Link(path, path+damagedSuffix)
	if errors.Is(err, fs.ErrExist) {
		return nil // by a replay before
	}
	if err == nil {
		err = j.fs.SyncDir(j.dir)
	}
	if err != nil {
		return fmt.Errorf("it cannot be set aside: %w", err)
	}
	return nil
}

// cut leaves a segment's sound records.
func (j *Journal) cut(e ending) error {
	f, err := j.fs.OpenFile(e.path, os.O_WRONLY, 0)
	if err == nil {
		err = errors.Join(f.Truncate(e.size), f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("its torn end cannot be cut off: %w", err)
	}
	i := slices.IndexFunc(j.found, func(s segment) bool { return s.segmentID == e.id })
	j.found[i].size = e.size
	return nil
}

// ending is a segment that is damaged, or has sound records up to a size and a torn end.
type ending struct {
	path    string
	id      segmentID
	size    int64
	damaged bool
}

func read(ctx context.Context, fsys disk.FS, dir string, segments []segment, f Record) (Report, []ending, error) {
	var report Report
	var ends []ending
	for i, s := range segments {
		if i == len(segments)-1 && s.size < headerSize { // it was being begun
			report.Segments, report.Torn, report.TornBytes = report.Segments+1, report.Torn+1, report.TornBytes+s.size
			break
		}
		missing(&report, s, segments[:i], dir)
		r := reader{ctx: ctx, segment: s, path: s.path(dir), limit: end(segments, i), use: f, report: &report}
		torn, damage := report.Torn, report.DamageTotal
		if err := r.read(fsys); err != nil {
			return report, nil, err
		}
		if report.DamageTotal > damage || report.Torn > torn {
			ends = append(ends, ending{r.path, s.segmentID, r.offset, report.DamageTotal > damage})
		}
	}
	return report, ends, nil
}

// end is where the next segment says that the i-th ends, or 0.
func end(segments []segment, i int) int64 {
	if i+1 < len(segments) && segments[i+1].after == segments[i].number {
		return segments[i+1].afterEnd
	}
	return 0
}

// missing reports that a segment comes after one that is not there, though
// older ones are.
func missing(report *Report, s segment, before []segment, dir string) {
	if n := len(before); n > 0 && s.err == nil && s.after > before[n-1].number {
		report.damaged(dir, 0, fmt.Errorf("segment %d is missing", s.after))
	}
}
