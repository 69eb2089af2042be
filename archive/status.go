package archive

import (
	"sync"
	"time"

	"github.com/ringstore/ringstore/archive/journal"
)

// Status is how an archive is, and what it has done since Open.
type Status struct {
	Unavailable error          // as [Archive.Unavailable] tells it
	Journal     journal.Status // zero before Restore has come to its end
	Checkpoints Runs
	Cleanups    Runs // the bytes are those of Parquet files
}

// Runs tells of a kind of work that is done now and then.
type Runs struct {
	Done, Failed int64
	Bytes        int64         // written
	Took         time.Duration // together
	LastDone     time.Time     // when the newest that was done ended; zero if there is none, not before Open either
	LastTook     time.Duration // how long that took; 0 if it was before Open
	LastBytes    int64         // and what it wrote, the same
	Err          error         // of a newer one, which failed; nil if there is none
}

// Status waits for nothing that is being done.
func (a *Archive) Status() Status {
	s := Status{Unavailable: a.Unavailable(), Checkpoints: a.checkpoints.now(), Cleanups: a.cleanups.now()}
	if j := a.journal.Load(); j != nil {
		s.Journal = j.Status()
	}
	return s
}

// runs counts [Runs].
type runs struct {
	mu    sync.Mutex
	total Runs
}

func (r *runs) now() Runs {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// found notes that a process before this one was done at a moment.
func (r *runs) found(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.LastDone = at
}

// count adds a run that has ended.
func (r *runs) count(begin time.Time, bytes int64, err error) {
	end := time.Now()
	took := end.Sub(begin)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Bytes += bytes
	r.total.Took += took
	r.total.Err = err
	if err != nil {
		r.total.Failed++
		return
	}
	r.total.Done++
	r.total.LastTook, r.total.LastBytes, r.total.LastDone = took, bytes, end
}
