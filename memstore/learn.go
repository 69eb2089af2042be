package memstore

import (
	"slices"
	"sync"
)

// Sets of series that are asked for again and again but are no level of a host, such as the hwthreads
// of a socket, are learned: new blocks keep their sums, too.

const (
	maxLearned   = 16               // sets of a lane
	minAsked     = 2                // times a set is asked for before it is learned
	learnedFor   = 24 * 3600 * 1000 // milliseconds since a set was last asked for
	learnedBytes = 80               // of a set, without its series
)

// learnedSets are the sets that queries of a lane have asked for lately. It has a lock of its own
// because queries, which share the host's lock, change it.
type learnedSets struct {
	mu  sync.Mutex
	all []learnedSet
}

type learnedSet struct {
	key    string
	series []*Series // in the order in which they are added
	times  int
	last   int64 // Unix milliseconds
}

func (a *learnedSet) bytes() int64 { return int64(learnedBytes + len(a.key) + 8*len(a.series)) }

// remember notes that a query asks for a set of series, unless blocks keep it anyway. The host is
// locked at least for reading.
func (l *lane) remember(s *Store, set *columnSet, series []*Series) {
	if !l.hasSets || l.isLevel(string(set.key)) {
		return
	}
	a := &l.learned
	a.mu.Lock()
	defer a.mu.Unlock()
	now := s.now().UnixMilli()
	i := slices.IndexFunc(a.all, func(x learnedSet) bool { return x.key == string(set.key) })
	if i < 0 {
		if i = len(a.all); i < maxLearned {
			a.all = append(a.all, learnedSet{})
		} else {
			i = a.oldest()
			s.account(l.host, -a.all[i].bytes())
		}
		a.all[i] = learnedSet{key: string(set.key), series: slices.Clone(series)}
		s.account(l.host, a.all[i].bytes())
	}
	x := &a.all[i]
	if now-x.last > learnedFor {
		x.times = 0
	}
	x.times, x.last = x.times+1, now
}

// oldest returns the set that was asked for the longest time ago.
func (a *learnedSets) oldest() int {
	oldest := 0
	for i, x := range a.all {
		if x.last < a.all[oldest].last {
			oldest = i
		}
	}
	return oldest
}

// appendLearned appends the sets that were learned to sets. The host is locked.
func (l *lane) appendLearned(sets []columnSet) []columnSet {
	l.learned.mu.Lock()
	defer l.learned.mu.Unlock()
	for _, x := range l.learned.all {
		if x.times >= minAsked && l.time(l.newest)-x.last <= learnedFor && !l.isLevel(x.key) {
			sets = append(sets, newColumnSet(x.series))
		}
	}
	return sets
}

// forget drops the sets with a series that was removed from the store. The host is locked.
func (l *lane) forget(s *Store) {
	a := &l.learned
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = slices.DeleteFunc(a.all, func(x learnedSet) bool {
		gone := slices.ContainsFunc(x.series, (*Series).Gone)
		if gone {
			s.account(l.host, -x.bytes())
		}
		return gone
	})
}
