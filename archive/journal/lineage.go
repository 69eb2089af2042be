package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
)

// Lineage says which segments belong to a directory. The zero Lineage knows nothing; all segments
// belong then.
type Lineage struct {
	Store uuid.UUID // its segments belong
	From  uint64    // older segments are no longer needed

	// Known are the segments that the directory had at some time, oldest first; nil if that is
	// unknown. Newer segments belong if they continue the last one.
	Known []SegmentName
}

// SegmentName identifies a segment.
type SegmentName struct {
	Number  uint64
	Salt    uint32
	Created time.Time // zero: unknown
}

// Names returns the names of the segments, oldest first.
func (j *Journal) Names() []SegmentName {
	j.mu.Lock()
	defer j.mu.Unlock()
	var all []SegmentName
	for _, s := range j.old {
		all = append(all, s.name())
	}
	if j.current.number != 0 {
		all = append(all, j.current.name())
	}
	return all
}

func (s *segment) name() SegmentName {
	n := SegmentName{Number: s.number, Salt: s.salt}
	if s.created > 0 {
		n.Created = time.UnixMilli(s.created)
	}
	return n
}

func (n SegmentName) id() segmentID { return segmentID{n.Number, n.Salt} }

// lastKnown returns the number of the newest known segment, 0 if there is none.
func (l *Lineage) lastKnown() (number uint64) {
	for _, n := range l.Known {
		number = max(number, n.Number)
	}
	return number
}

// divide separates the segments that belong to the directory from the others.
func (l *Lineage) divide(segments []segment, dir string) (belong []segment, foreign []*disk.ForeignError) {
	known := make(map[segmentID]bool)
	last := l.lastKnown()
	for _, n := range l.Known {
		known[n.id()] = true
	}
	named := make(map[uint64]segmentID) // by the segments that follow them
	for _, s := range segments {
		if s.err == nil && s.store == l.Store && (s.store != uuid.Nil || l.Store == uuid.Nil) && s.after.salt != 0 {
			named[s.after.number] = s.after
		}
	}
	for _, s := range segments {
		why := l.foreign(s, known, last, belong)
		if why == nil && !known[s.segmentID] {
			if id, ok := named[s.number]; ok && id != s.segmentID && slices.ContainsFunc(segments, func(o segment) bool { return o.segmentID == id }) {
				why = fmt.Errorf("segment %d follows another file of this number", s.number+1)
			}
		}
		if why != nil {
			foreign = append(foreign, &disk.ForeignError{Path: s.path(dir), Err: why})
		} else {
			belong = append(belong, s)
		}
	}
	return belong, foreign
}

// foreign returns why a segment does not belong, or nil. before are the segments before it.
func (l *Lineage) foreign(s segment, known map[segmentID]bool, last uint64, before []segment) error {
	switch {
	case known[s.segmentID] && (s.err != nil || s.store == l.Store || s.store == uuid.Nil):
		return nil
	case s.err != nil && (l.Known == nil || s.number > last):
		return nil // is damaged
	case s.store != l.Store && s.store != uuid.Nil && l.Store != uuid.Nil:
		return fmt.Errorf("expected a segment of store %v, got one of %v", l.Store, s.store)
	case l.Known == nil || s.number < l.From:
		return nil
	case s.store != l.Store || s.number <= last:
		return errors.New("expected a segment that the manifest lists")
	}
	if n := len(before); n > 0 && s.after.number == before[n-1].number && s.after != before[n-1].segmentID {
		return fmt.Errorf("it follows another segment %d than the one here", s.after.number)
	}
	return nil
}

// missing returns the known segments that are needed and not there.
func (l *Lineage) missing(segments []segment, dir string) (missing []*disk.MissingError) {
	for i, n := range l.Known {
		if n.Number < l.From || slices.ContainsFunc(segments, func(s segment) bool { return s.segmentID == n.id() }) {
			continue
		}
		end := time.Time{}
		if i+1 < len(l.Known) {
			end = l.Known[i+1].Created
		} else if j := slices.IndexFunc(segments, func(s segment) bool { return s.number > n.Number }); j >= 0 {
			end = segments[j].name().Created
		}
		missing = append(missing, &disk.MissingError{Path: n.id().path(dir), From: n.Created, To: end})
	}
	return missing
}

// gaps returns the segments that others continue and that are neither there nor known.
func (l *Lineage) gaps(segments []segment, dir string) (missing []*disk.MissingError) {
	for i, s := range segments {
		first := l.firstNumber()
		if s.err != nil || s.after.number == 0 || s.after.number < first || i > 0 && segments[i-1].number >= s.after.number {
			continue
		}
		if slices.ContainsFunc(l.Known, func(n SegmentName) bool { return n.Number == s.after.number }) {
			continue
		}
		if i == 0 && first == 0 {
			continue // older ones may have been removed
		}
		path := s.after.path(dir)
		if s.after.salt == 0 {
			path = filepath.Join(dir, fmt.Sprintf("%s%012d-*%s", namePrefix, s.after.number, nameSuffix))
		}
		m := &disk.MissingError{Path: path, To: s.name().Created}
		if i > 0 {
			m.From = segments[i-1].name().Created
		}
		missing = append(missing, m)
	}
	return missing
}

// firstNumber returns the number of the first segment that must be there.
func (l *Lineage) firstNumber() uint64 {
	if len(l.Known) > 0 {
		return cmp.Or(l.From, l.Known[0].Number)
	}
	return l.From
}

// StoreOf returns the store of the newest segment in a directory that names one, or zero.
func StoreOf(ctx context.Context, fsys disk.FS, dir string) (uuid.UUID, error) {
	segments, err := listIfExists(ctx, fsys, dir)
	for _, s := range slices.Backward(segments) {
		if s.err == nil && s.store != uuid.Nil {
			return s.store, nil
		}
	}
	return uuid.Nil, err
}

// List returns the names of the segments in a directory that belong to it, oldest first.
func List(ctx context.Context, fsys disk.FS, dir string, l Lineage) ([]SegmentName, error) {
	segments, err := listIfExists(ctx, fsys, dir)
	segments, _ = l.divide(segments, dir)
	var all []SegmentName
	for _, s := range segments {
		all = append(all, s.name())
	}
	return all, err
}

func listIfExists(ctx context.Context, fsys disk.FS, dir string) ([]segment, error) {
	segments, err := list(ctx, fsys, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	return segments, nil
}
