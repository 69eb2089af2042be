package memstore

import (
	"time"

	"github.com/ringstore/ringstore/memstore/guard"
)

// Retention returns how long samples are kept.
func (s *Store) Retention() time.Duration { return time.Duration(s.retention) * time.Millisecond }

// Guard returns the clock by which samples are deleted; nil means Options.Now.
func (s *Store) Guard() *guard.Clock { return s.guard }

// RetainedSince returns the start of the retention, in Unix milliseconds: what is older may be
// deleted.
func (s *Store) RetainedSince() int64 {
	if s.guard == nil {
		return s.now().UnixMilli() - s.retention
	}
	return s.guard.Now().UnixMilli() - s.retention
}

// Oldest returns the time, in Unix milliseconds, since which samples of a host are kept: the start
// of the retention, or earlier if running jobs need more.
func (s *Store) Oldest(cluster, hostname string) int64 {
	return min(s.RetainedSince(), s.needed(cluster, hostname))
}

// SkipExpired reports that windows which end before or at a time (Unix milliseconds) are not in
// memory because of their age, although they may be on disk. Samples of their time, which the store
// would accept after the clock was set back, would hide them, so they are refused. Without
// Options.KeepUnstored nobody needs these windows any more.
func (s *Store) SkipExpired(end int64) {
	for known := s.expired.Load(); s.keep && end > known && !s.expired.CompareAndSwap(known, end); {
		known = s.expired.Load()
	}
}

// period is the time range of acceptable samples in Unix milliseconds, without what is allowed ahead
// of the clock.
type period struct {
	oldest, latest, now int64
	held                Held // is kept
}

// acceptable returns the period of new samples. After the clock was set back it still ends where it
// would have ended.
func (s *Store) acceptable() period {
	now := s.now().UnixMilli()
	p := period{oldest: max(now-s.retention, s.expired.Load()), latest: now, now: now}
	if s.guard != nil {
		p.latest = max(now, s.guard.Latest().UnixMilli())
	}
	return p
}

// restorable returns the period of samples that were accepted before, as of the time since which they
// are kept.
func (r *Restorer) restorable(oldest int64) period {
	return period{oldest: oldest, latest: maxTime * 1000, now: r.now}
}
