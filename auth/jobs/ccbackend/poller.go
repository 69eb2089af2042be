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
	LookBack time.Duration    // the first poll reads the jobs that began within this time
	Interval time.Duration    // between two polls; default 30 s
	Now      func() time.Time // nil means time.Now
	Log      *slog.Logger     // nil means no log
}

// Poller copies the jobs of cc-backend to an index.
type Poller struct{ o PollerOptions }

const (
	// overlap is how far a poll reaches back before the previous one: cc-backend learns of jobs
	// late, and the batch system has another clock.
	overlap = 10 * time.Minute
	// maxClockLag is how far our clock may be behind.
	maxClockLag = time.Hour
	// eventGrace is how long events may be ahead of cc-backend, in seconds.
	eventGrace = 120
	// maxExact is the maximum number of requests for jobs with a given start in one poll. The other
	// jobs wait for the next poll.
	maxExact = 500
)

// NewPoller returns a Poller. Polling starts with [Poller.Run].
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

// Run polls at once and then at each interval until ctx ends. It logs a failure if its text
// differs from the previous one, and the first success after a failure.
func (p *Poller) Run(ctx context.Context) {
	defer p.o.Client.Close()
	repeat(ctx, p.o.Interval, p.o.Log, p.Poll,
		"cannot read all running jobs from cc-backend: users see a running job until the last poll that saw it",
		"cc-backend reports again which jobs run")
}

// Poll reads all running jobs, then the jobs that began since the last poll, and then each open job
// of the index that was in neither response.
func (p *Poller) Poll(ctx context.Context) error {
	at := p.o.Now()
	running, err := p.read(ctx, filter{running: true})
	if err != nil {
		return fmt.Errorf("running %w", err)
	}
	from := at.Add(-p.o.LookBack)
	if last := p.o.Index.LastPoll(); last > 0 {
		from = later(from, time.Unix(last, 0).Add(-overlap))
	}
	begun, err := p.read(ctx, filter{from: from.Unix(), to: at.Add(maxClockLag).Unix()})
	if err != nil {
		return fmt.Errorf("begun %w", err)
	}
	p.o.Index.SetLastPoll(at.Unix())
	return errors.Join(running.skipped, begun.skipped, p.readUnseen(ctx, at))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// result is what a request returned.
type result struct {
	keys    map[jobs.Key]bool
	skipped error // about jobs that were left out
}

// read applies the selected jobs to the index. A running job counts as seen running when the
// request was sent.
func (p *Poller) read(ctx context.Context, q filter) (result, error) {
	at := p.o.Now().Unix()
	res := result{keys: make(map[jobs.Key]bool)}
	var reports []jobs.Report
	skipped, err := p.o.Client.list(ctx, q, func(w *jobs.Wire) {
		r := jobs.Report{Job: w.Job(), Running: w.Running(), At: at}
		res.keys[r.Key()] = true
		reports = append(reports, r)
	})
	if err != nil {
		return res, err
	}
	res.skipped = p.o.Index.Apply(reports...)
	if skipped > 0 {
		res.skipped = errors.Join(res.skipped, fmt.Errorf("%d jobs do not have the format of cc-backend", skipped))
	}
	return res, nil
}

// readUnseen reads the open jobs that were not seen running since at.
func (p *Poller) readUnseen(ctx context.Context, at time.Time) error {
	byStart := make(map[int64][]jobs.Key)
	var starts []int64
	for _, k := range p.o.Index.Unseen(at.Unix(), eventGrace) {
		if byStart[k.Start] == nil {
			starts = append(starts, k.Start)
		}
		byStart[k.Start] = append(byStart[k.Start], k)
	}
	var errs []error
	for _, start := range starts[:min(len(starts), maxExact)] {
		res, err := p.read(ctx, filter{from: start, to: start})
		if err != nil {
			return fmt.Errorf("reading the jobs that ended: %w", err)
		}
		errs = append(errs, res.skipped)
		for _, k := range byStart[start] {
			if !res.keys[k] {
				p.o.Index.CloseVanished(k)
			}
		}
	}
	return errors.Join(errs...)
}
