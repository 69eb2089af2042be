package jobs

import (
	"errors"
	"slices"
)

// Report is what a source says of a job.
type Report struct {
	Job
	Running bool
	At      int64 // Unix seconds: when it ran, if Running
}

// reopenAfter is how many seconds after its end a job must be seen running to be
// taken for one that does: a source may be behind another.
const reopenAfter = 60

// Learn takes what cc-backend says, which counts more than what events say. Jobs
// that cannot be are left out; the error tells of these, and the others count.
func (ix *Index) Learn(reports ...Report) error {
	return ix.change(reports, func(at uint32, known bool, r *Report) uint32 {
		return ix.learn(at, known, r)
	})
}

// change calls put for each report that can be.
func (ix *Index) change(reports []Report, put func(at uint32, known bool, r *Report) uint32) error {
	defer ix.lock()()
	ix.changes++
	var errs []error
	lengths := make(map[uint32]int) // of users' intervals before
	for i := range reports {
		r := &reports[i]
		err := r.check(r.Running)
		if err == nil {
			err = ix.full(len(r.Nodes))
		}
		if err == nil && ix.clashes(r.Key()) {
			err = ErrFull
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		user := ix.t.name(r.User)
		if _, ok := lengths[user]; !ok {
			lengths[user] = 0
			if u := ix.t.users[user]; u != nil {
				lengths[user] = len(u.intervals)
			}
		}
		at, known := ix.find(r.Key())
		ix.t.mark(put(at, known, r))
	}
	for user, n := range lengths {
		if u := ix.t.users[user]; u != nil && n < len(u.intervals) {
			u.order(n)
		}
	}
	return errors.Join(errs[:min(len(errs), 3)]...)
}

func (ix *Index) learn(at uint32, known bool, r *Report) uint32 {
	print := r.print(ix.seed)
	row := job{print: print, end: uint32(r.Start)}
	if known {
		row = ix.t.jobs[at]
	}
	switch seen := uint32(min(max(r.At, r.Start), maxTime)); {
	case !r.Running:
		row.end, row.flags = uint32(r.End), row.flags&^(open|live)
	case row.flags&open != 0, !known:
		row.end, row.flags = max(row.end, seen), row.flags|open
	case seen >= row.end+reopenAfter:
		row.end, row.flags = seen, row.flags|open
	}
	if known && row.print == print {
		ix.t.jobs[at] = row
		return at
	}
	if known { // it is another's now, or elsewhere, and what the events said was wrong
		ix.t.jobs[at].flags |= moved
		ix.t.mark(at)
		row.print, row.flags = print, row.flags&^live
	}
	return ix.t.add(ix.seed, &r.Job, row)
}

// Unseen returns the jobs that are open and were not seen running at a moment,
// Unix seconds. Events do not keep these open any longer. A job that began less
// than grace seconds before may be one that only events tell of so far.
func (ix *Index) Unseen(at, grace int64) []Key {
	defer ix.lock()()
	var unseen []Key
	for i := range ix.t.open {
		j := &ix.t.jobs[i]
		if int64(j.end) >= at || j.flags&live != 0 && int64(j.start) > at-grace {
			continue
		}
		j.flags &^= live
		ix.changes++
		unseen = append(unseen, ix.t.key(j))
	}
	slices.SortFunc(unseen, Key.compare)
	return unseen
}

// Vanished closes a job that cc-backend does not know any more when it was last
// seen.
func (ix *Index) Vanished(k Key) {
	defer ix.lock()()
	if at, ok := ix.find(k); ok {
		ix.t.jobs[at].flags &^= open | live
		ix.t.mark(at)
		ix.changes++
	}
}

// Polled returns when cc-backend was last asked and told all, in Unix seconds; 0
// if it never did.
func (ix *Index) Polled() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.polled
}

// SetPolled notes that cc-backend was asked at a moment, and has told all.
func (ix *Index) SetPolled(at int64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.polled = at
	ix.changes++
}
