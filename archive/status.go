package archive

import "time"

// Status tells how an archive is at a moment.
type Status struct {
	Segments     int // of the journal
	JournalBytes int64
	Unavailable  error         // as [Archive.Unavailable] tells it
	Last         *Checkpointed // the newest checkpoint; nil if there is none
	Failed       error         // of the try after that one; nil if there was none
}

// Checkpointed is a checkpoint that was written.
type Checkpointed struct {
	Time  time.Time     // of its beginning
	Took  time.Duration // 0 if a process before wrote it
	Bytes int64         // written, the same
}

// Status does not wait for a checkpoint that is being written.
func (a *Archive) Status() Status {
	s := Status{Unavailable: a.Unavailable(), Last: a.last.Load()}
	if err := a.failed.Load(); err != nil {
		s.Failed = *err
	}
	a.gate.RLock()
	defer a.gate.RUnlock()
	if a.journal != nil {
		for _, segment := range a.journal.Segments() {
			s.Segments++
			s.JournalBytes += segment.Bytes
		}
	}
	return s
}

func orNil(err error) *error {
	if err == nil {
		return nil
	}
	return &err
}
