package journal

import "time"

// Observer is told how long the work of a journal took. Its methods are called by
// many goroutines, on their way, and must return at once.
type Observer interface {
	// Appended tells of a record that was acknowledged: from the call to that.
	Appended(took time.Duration)
	// Synced tells of an fsync of a segment that went well.
	Synced(took time.Duration)
}

type nobody struct{}

func (nobody) Appended(time.Duration) {}
func (nobody) Synced(time.Duration)   {}

// Status is how a journal is at a moment.
type Status struct {
	Available bool  // it takes records
	Failures  int64 // how often it stopped to take records, since Open
	Segments  int   // files
	Bytes     int64 // of them
	Unsynced  int64 // bytes that were acknowledged, and of which it is not known that they are on disk
}

// Status returns how the journal is.
func (j *Journal) Status() Status {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Status{Available: j.state() == nil, Failures: j.failures, Segments: len(j.old), Unsynced: j.written - j.synced}
	for _, old := range j.old {
		s.Bytes += old.size
	}
	if j.current.number != 0 {
		s.Segments++
		s.Bytes += j.written - j.base
	}
	return s
}
