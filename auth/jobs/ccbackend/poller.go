package ccbackend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ringstore/ringstore/auth/jobs"
)

// PollerOptions of a [Poller]. Client, Index and LookBack are required.
type PollerOptions struct {
	Client   *Client
	Index    *jobs.Index
	LookBack time.Duration    // how long ago the jobs began that are asked for when nothing is known
	Interval time.Duration    // between two polls; default 30 s
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger     // nil means silence
}

// Poller tells an index of jobs what cc-backend knows of them.
type Poller struct{ o PollerOptions }

const (
	// overlap is how far a poll looks back before the one before it: jobs come to
	// cc-backend late, and by clocks of their own.
	overlap = 10 * time.Minute
	// ahead is how far behind our clock may be.
	ahead = time.Hour
	// eventGrace is for how long events may know more than cc-backend, in seconds.
	eventGrace = 120
	// mostExact bounds the questions after single jobs in one poll. The others stay
	// shut until the next.
	mostExact = 500
)

// NewPoller returns what has not asked yet: that is for [Poller.Run] to do.
func NewPoller(o PollerOptions) *Poller {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Poller{o}
}

// Run polls at once, and then at every interval until ctx ends. It logs when that
// fails, why, and when it works again.
func (p *Poller) Run(ctx context.Context) {
	defer p.o.Client.Close()
	repeat(ctx, p.o.Interval, p.o.Log, p.Poll,
		"cc-backend does not tell all of which jobs run: users see running jobs until they were last told of",
		"cc-backend tells again which jobs run")
}

// Poll asks for all jobs that run, then for all that began since the last poll,
// and then for each that was thought to run and is not among these.
func (p *Poller) Poll(ctx context.Context) error {
	at := p.o.Now()
	running, err := p.ask(ctx, question{running: true})
	if err != nil {
		return fmt.Errorf("running %w", err)
	}
	from := at.Add(-p.o.LookBack)
	if last := p.o.Index.LastPoll(); last > 0 {
		from = later(from, time.Unix(last, 0).Add(-overlap))
	}
	begun, err := p.ask(ctx, question{from: from.Unix(), to: at.Add(ahead).Unix()})
	if err != nil {
		return fmt.Errorf("begun %w", err)
	}
	p.o.Index.SetLastPoll(at.Unix())
	return errors.Join(running.bad, begun.bad, p.askUnseen(ctx, at))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// heard is what a question brought.
type heard struct {
	keys map[jobs.Key]bool
	bad  error // of jobs that were left out
}

// ask puts what a question brings into the index. A job that runs did so when it
// was asked for.
func (p *Poller) ask(ctx context.Context, q question) (heard, error) {
	at := p.o.Now().Unix()
	h := heard{keys: make(map[jobs.Key]bool)}
	var reports []jobs.Report
	skipped, err := p.o.Client.list(ctx, q, func(w *jobs.Wire) {
		r := jobs.Report{Job: w.Job(), Running: w.Running(), At: at}
		h.keys[r.Key()] = true
		reports = append(reports, r)
	})
	if err != nil {
		return h, err
	}
	h.bad = p.o.Index.Apply(reports...)
	if skipped > 0 {
		h.bad = errors.Join(h.bad, fmt.Errorf("%d jobs are not as cc-backend describes them", skipped))
	}
	return h, nil
}

// askUnseen asks what became of the jobs that are open and were not seen.
func (p *Poller) askUnseen(ctx context.Context, at time.Time) error {
	byStart := make(map[int64][]jobs.Key)
	var starts []int64
	for _, k := range p.o.Index.Unseen(at.Unix(), eventGrace) {
		if byStart[k.Start] == nil {
			starts = append(starts, k.Start)
		}
		byStart[k.Start] = append(byStart[k.Start], k)
	}
	var errs []error
	for _, start := range starts[:min(len(starts), mostExact)] {
		h, err := p.ask(ctx, question{from: start, to: start})
		if err != nil {
			return fmt.Errorf("ended %w", err)
		}
		errs = append(errs, h.bad)
		for _, k := range byStart[start] {
			if !h.keys[k] {
				p.o.Index.CloseVanished(k)
			}
		}
	}
	return errors.Join(errs...)
}
