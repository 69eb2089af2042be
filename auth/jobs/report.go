package jobs

import (
	"errors"
	"slices"
)

// Report is the state of a job as a source reports it.
type Report struct {
	Job
	Running bool
	At      int64 // Unix seconds; if Running, when the job was seen running
}

// reopenAfter is how many seconds after its end a job must be seen running to count as running
// again: one source may lag behind another.
const reopenAfter = 60

// Apply applies reports of cc-backend, which override events. Invalid reports are left out; the
// error names the first three.
func (ix *Index) Apply(reports ...Report) error { return ix.change(reports, ix.apply) }

// change calls put for each valid report, with the index of the job in tables.jobs if it is known.
// put returns the index that the job has afterwards.
func (ix *Index) change(reports []Report, put func(at uint32, known bool, r *Report) uint32) error {
	defer ix.lock()()
	ix.changes++
	var errs []error
	sorted := make(map[uint32]int) // how many intervals of each changed user are sorted
	for i := range reports {
		r := &reports[i]
		err := r.check(r.Running)
		if err == nil {
			err = ix.checkFull(len(r.Nodes))
		}
		if err == nil && ix.clashes(r.Key()) {
			err = ErrFull
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		user := ix.t.name(r.User)
		if _, ok := sorted[user]; !ok {
			sorted[user] = 0
			if u := ix.t.users[user]; u != nil {
				sorted[user] = len(u.intervals)
			}
		}
		at, known := ix.find(r.Key())
		ix.t.updateOpen(put(at, known, r))
	}
	for user, n := range sorted {
		if u := ix.t.users[user]; u != nil && n < len(u.intervals) {
			u.sortFrom(n)
		}
	}
	return errors.Join(errs[:min(len(errs), 3)]...)
}

func (ix *Index) apply(at uint32, known bool, r *Report) uint32 {
	fingerprint := r.fingerprint(ix.seed)
	row := job{fingerprint: fingerprint, end: uint32(r.Start)}
	if known {
		row = ix.t.jobs[at]
	}
	switch seen := uint32(min(max(r.At, r.Start), maxTime)); {
	case !r.Running:
		row.end, row.flags = uint32(r.End), row.flags&^(open|live|superseded)
	case row.flags&open != 0, !known:
		row.end, row.flags = max(row.end, seen), row.flags&^superseded|open
	case seen >= row.end+reopenAfter:
		row.end, row.flags = seen, row.flags|open
	}
	if known && row.fingerprint == fingerprint {
		ix.t.jobs[at] = row
		return at
	}
	if known { // the job has another user or other hosts, so earlier events were wrong
		ix.t.jobs[at].flags |= replaced
		ix.t.updateOpen(at)
		row.fingerprint, row.flags = fingerprint, row.flags&^live
	}
	return ix.t.add(ix.seed, &r.Job, row)
}

// Unseen returns the open jobs that were not seen running at a time (Unix seconds) or later, and
// stops events from keeping them open. It leaves out live jobs that began less than grace seconds
// before: cc-backend may not know them yet.
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

// CloseVanished ends a job that cc-backend no longer knows at the time it was last seen.
func (ix *Index) CloseVanished(k Key) {
	defer ix.lock()()
	if at, ok := ix.find(k); ok {
		ix.t.jobs[at].flags &^= open | live | superseded
		ix.t.updateOpen(at)
		ix.changes++
	}
}

// LastPoll returns when the last complete poll of cc-backend began, in Unix seconds; 0 if there was
// none.
func (ix *Index) LastPoll() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.lastPoll
}

// SetLastPoll records a complete poll of cc-backend that began at a time, in Unix seconds.
func (ix *Index) SetLastPoll(at int64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.lastPoll = at
	ix.changes++
}
