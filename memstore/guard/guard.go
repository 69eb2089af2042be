// Package guard says up to which time samples may be deleted for their age although the wall clock
// may be wrong.
package guard

import (
	"sync"
	"time"
)

// ConfirmAfter is how long the wall clock and the monotonic clock must agree until the wall clock is
// trusted.
const ConfirmAfter = time.Hour

// tolerance is how far the two may drift apart in that time. An NTP daemon that slews by 500 ppm
// needs 1.8 s of it.
const tolerance = 10 * time.Second

// Clock is a clock that never runs ahead of the wall clock nor, from where it was, of the monotonic
// clock. A jump of the wall clock ahead is trusted after they have agreed for [ConfirmAfter], or
// after [Clock.Confirm]. What happens between two readings is not noticed. Its methods are safe for
// concurrent use.
type Clock struct {
	read func() (wall time.Time, monotonic time.Duration)

	mu     sync.Mutex
	last   time.Duration // monotonic time of the last reading
	now    time.Time
	latest time.Time
	agreed time.Duration // monotonic time since which the two agree
	start  time.Time     // wall time minus monotonic time then
}

// New returns a guard that trusts the wall clock as it is now. read reads both clocks; nil reads the
// system's.
func New(read func() (wall time.Time, monotonic time.Duration)) *Clock {
	if read == nil {
		began := time.Now()
		read = func() (time.Time, time.Duration) {
			now := time.Now()
			return now.Round(0), now.Sub(began)
		}
	}
	g := &Clock{read: read}
	wall, monotonic := read()
	g.reset(wall, monotonic)
	g.now, g.latest = wall, wall
	return g
}

// Times are what [Clock.Resume] needs to go on after a restart.
type Times struct {
	Now    time.Time // of [Clock.Now]
	Latest time.Time // of [Clock.Latest]
}

// Resume continues the clock of an earlier process, which gave the times last. A wall clock that is
// later has to be confirmed.
func (g *Clock) Resume(last Times) {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall := g.advance()
	g.now = earlier(last.Now, wall)
	g.latest = later(last.Latest, g.now)
}

// Now returns the time that deletion goes by.
func (g *Clock) Now() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance()
	return g.now
}

// Latest returns the latest time that the clock would show if the wall clock had not been set back.
func (g *Clock) Latest() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance()
	return g.latest
}

// Times returns the times to store for [Clock.Resume].
func (g *Clock) Times() Times {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.advance()
	return Times{g.now, g.latest}
}

// State is how far the wall clock is trusted.
type State struct {
	Now   time.Time     // that deletion goes by
	Ahead time.Duration // of the wall clock, not confirmed yet
	// ConfirmedIn is how long the clocks must still agree.
	ConfirmedIn time.Duration
}

// State returns the current state.
func (g *Clock) State() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state(g.advance())
}

// state returns the state at a wall time, of which the clock has been advanced; g is locked.
func (g *Clock) state(wall time.Time) State {
	return State{g.now, wall.Sub(g.now), g.agreed + ConfirmAfter - g.last}
}

// Confirm trusts the wall clock as it is, and returns the state before.
func (g *Clock) Confirm() State {
	g.mu.Lock()
	defer g.mu.Unlock()
	wall := g.advance()
	before := g.state(wall)
	g.reset(wall, g.last)
	g.now, g.latest = wall, wall
	return before
}

// advance reads the clocks and returns the wall time; g is locked.
func (g *Clock) advance() (wall time.Time) {
	wall, monotonic := g.read()
	passed := max(monotonic-g.last, 0)
	g.last += passed
	g.now, g.latest = earlier(g.now.Add(passed), wall), g.latest.Add(passed)
	switch {
	case wall.Add(-g.last).Sub(g.start).Abs() > tolerance:
		g.reset(wall, g.last)
	case g.last-g.agreed >= ConfirmAfter:
		g.reset(wall, g.last)
		g.now = wall
	}
	g.latest = later(g.latest, g.now)
	return wall
}

// reset begins to compare the clocks; g is locked.
func (g *Clock) reset(wall time.Time, monotonic time.Duration) {
	g.last, g.agreed, g.start = monotonic, monotonic, wall.Add(-monotonic)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
