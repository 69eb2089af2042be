package journal

import "time"

// Observer receives the durations of a journal's operations. Its methods are called concurrently,
// by the goroutines that did the work, and must return quickly.
type Observer interface {
	// Appended receives the time from the call of Append to the acknowledgement of its record.
	Appended(took time.Duration)
	// Synced receives the duration of a successful fsync of a segment.
	Synced(took time.Duration)
}

type noObserver struct{}

func (noObserver) Appended(time.Duration) {}
func (noObserver) Synced(time.Duration)   {}

// Status is the state of a journal.
type Status struct {
	Available bool  // accepts records
	Failures  int64 // how often it stopped accepting records, since Open
	Segments  int   // number of files
	Bytes     int64 // of all segments
	Unsynced  int64 // acknowledged bytes that may not be on disk
}

// Status returns the journal's state. It does not block.
func (j *Journal) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Status{Available: j.checkUsable() == nil, Failures: j.failures, Segments: len(j.old), Unsynced: j.written - j.synced}
	for _, old := range j.old {
		s.Bytes += old.size
	}
	if j.current.number != 0 {
		s.Segments++
		s.Bytes += j.written - j.base
	}
	return s
}
