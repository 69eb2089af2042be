package archive

import (
	"fmt"
	"sync"
	"time"

	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/memstore/guard"
)

// Status is the state of an archive and what it has done since Open.
type Status struct {
	Unavailable error          // see [Archive.Unavailable]
	Journal     journal.Status // zero until Restore has finished
	Checkpoints Runs
	Cleanups    Runs // bytes of Parquet files
	Clock       guard.State
	Restored    Restored // zero until Restore has finished

	// GoneFiles counts the block files that were removed while the archive was open, GoneWindows the
	// windows in them that were not in memory: those are lost.
	GoneFiles, GoneWindows int64
}

// Runs counts the runs of a recurring task.
type Runs struct {
	Done, Failed int64
	Bytes        int64         // written in total
	Took         time.Duration // in total
	LastDone     time.Time     // end of the last successful run, which may be before Open; zero if none
	LastTook     time.Duration // duration of that run; 0 if it was before Open
	LastBytes    int64         // bytes that run wrote; 0 if it was before Open
	Err          error         // of the last run; nil if it succeeded
}

// Status returns the state of the archive. It does not block.
func (a *Archive) Status() Status {
	s := Status{Unavailable: a.Unavailable(), Checkpoints: a.checkpoints.get(), Cleanups: a.cleanups.get(), GoneFiles: a.goneFiles.Load(), GoneWindows: a.goneWindows.Load()}
	if g := a.Store.Guard(); g != nil {
		s.Clock = g.State()
	}
	if r := a.restored.Load(); r != nil {
		s.Restored = *r
	}
	if j := a.journal.Load(); j != nil {
		s.Journal = j.Status()
	}
	return s
}

// Notes returns what an operator should know, such as files that cannot be read.
func (a *Archive) Notes() (notes []string) {
	if note := a.clockNote(); note != "" {
		notes = append(notes, note)
	}
	if n := a.unreadable.Load(); n > 0 {
		notes = append(notes, fmt.Sprintf("%d parts of files in the checkpoint directory cannot be read; their samples are missing until a restart can read them", n))
	}
	if n := a.goneWindows.Load(); n > 0 {
		notes = append(notes, fmt.Sprintf("files in the checkpoint directory were removed; %d windows that only they held are lost", n))
	}
	return notes
}

// runs guards [Runs].
type runs struct {
	mu    sync.Mutex
	total Runs
}

func (r *runs) get() Runs {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// setLastDone records when a run of an earlier process ended.
func (r *runs) setLastDone(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.LastDone = at
}

// add counts a run that has ended.
func (r *runs) add(begin time.Time, bytes int64, err error) {
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
