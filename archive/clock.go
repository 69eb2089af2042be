package archive

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/memstore/guard"
)

// reportAhead is how far ahead the clock must be to be reported. A start after a short stop, which
// delays the deletion of samples by as long, is not worth it.
const reportAhead = 15 * time.Minute

// clockLog says whether the log tells that the clock is ahead.
type clockLog struct{ ahead atomic.Bool }

// resumeClock goes on with the time that the newest manifest has. Directories of version 1 have the
// time of their last checkpoint.
func (r *restorer) resumeClock(d *directory) {
	g := r.Store.Guard()
	if g == nil {
		return
	}
	switch {
	case d.manifest != nil && d.manifest.Clock != nil:
		c := d.manifest.Clock
		g.Resume(guard.Times{Now: time.UnixMilli(c.Now), Latest: time.UnixMilli(c.Latest)})
	case len(d.windows) > 0:
		last := time.UnixMilli(int64(d.windows[0].run))
		g.Resume(guard.Times{Now: last, Latest: last})
	}
	r.logClock()
}

// clockTimes returns what the next manifest says about the clock.
func (a *Archive) clockTimes() *manifestClock {
	g := a.Store.Guard()
	if g == nil {
		return nil
	}
	t := g.Times()
	return &manifestClock{t.Now.UnixMilli(), t.Latest.UnixMilli()}
}

// ConfirmClock says that the server's clock is right, so that samples are deleted by it. It returns
// the state before.
func (a *Archive) ConfirmClock() (before guard.State) {
	if g := a.Store.Guard(); g != nil {
		before = g.Confirm()
		a.Logger.Info("the clock was confirmed by an administrator", "was_ahead", before.Ahead)
		a.clockLog.ahead.Store(false)
	}
	return before
}

// clockState returns the state of the clock, and whether it is so far ahead that this is reported.
func (a *Archive) clockState() (s guard.State, ahead bool) {
	if g := a.Store.Guard(); g != nil {
		s = g.State()
	}
	return s, s.Ahead > reportAhead
}

// logClock logs once that the clock is ahead, and once that it no longer is.
func (a *Archive) logClock() {
	s, ahead := a.clockState()
	switch {
	case a.clockLog.ahead.Swap(ahead) == ahead:
	case ahead:
		a.Logger.Warn("the clock is ahead of the time since the last checkpoint; until this is confirmed, samples are deleted and archived by the time that has passed",
			"ahead", s.Ahead.Round(time.Second), "confirmed_in", s.ConfirmedIn.Round(time.Second))
	default:
		a.Logger.Info("the clock is no longer ahead: samples are deleted by it again")
	}
}

// clockNote returns the note that the clock is ahead, "" if it is not.
func (a *Archive) clockNote() string {
	s, ahead := a.clockState()
	if !ahead {
		return ""
	}
	return fmt.Sprintf("the clock is %v ahead: nothing more is deleted or archived for its age until the clock has run evenly for another %v, or POST /api/confirm-clock says that it is right",
		s.Ahead.Round(time.Second), s.ConfirmedIn.Round(time.Second))
}
