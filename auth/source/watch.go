package source

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Options are how sources are watched. The zero value of each field means its default.
type Options struct {
	// PollInterval is the longest time between the ends of two successful looks at anything but files. Default 5 minutes.
	PollInterval time.Duration
	// FileInterval is the longest time between two looks at a file of whose change nobody was told, as on a network file
	// system. Default 30 s.
	FileInterval time.Duration
	// MinRefresh is the least time between the beginnings of two looks that somebody asked for. Default 10 s, at most
	// PollInterval.
	MinRefresh time.Duration
	// Timeout bounds one look. Default 10 s.
	Timeout time.Duration
	// Transport carries HTTP requests; nil: one of its own with Go's defaults.
	Transport http.RoundTripper
	// Log is told what changed and what failed; nil: nobody. No content of a source is in it.
	Log *slog.Logger
}

// firstRetry is the time from the first failure to the next try; it doubles up to the interval.
const firstRetry = time.Second

// Watcher watches sources until it is closed.
type Watcher struct {
	options Options
	client  *http.Client
	sources []*Source

	applying  sync.Mutex
	cancel    context.CancelFunc
	running   sync.WaitGroup
	transport *http.Transport // its own, if it has one
}

// Open reads every source once, at the same time, and then watches them. It fails, and watches nothing, if a file or a
// reference cannot be read, or is refused by its Apply; of URLs and discovery that is only reported, and tried again
// soon: an identity provider that is down must not keep everybody else out. It takes at most Options.Timeout; the end
// of ctx breaks it off, and has no effect on what is open.
func Open(ctx context.Context, o Options, sources ...*Source) (*Watcher, error) {
	o.PollInterval = cmp.Or(o.PollInterval, 5*time.Minute)
	o.FileInterval = cmp.Or(o.FileInterval, 30*time.Second)
	o.MinRefresh = min(cmp.Or(o.MinRefresh, 10*time.Second), o.PollInterval)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	w := &Watcher{options: o, sources: sources}
	w.client = newClient(o, w)
	states := make([]state, len(sources))
	errs := make([]error, len(sources))
	var first sync.WaitGroup
	for i, s := range sources {
		first.Go(func() {
			_, errs[i] = w.look(ctx, s, &states[i])
			if errs[i] != nil && !s.required {
				w.report(s, errs[i])
				errs[i] = nil
			}
		})
	}
	first.Wait()
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	if err := errors.Join(append(errs, ctx.Err())...); err != nil {
		_ = w.Close()
		return nil, err
	}
	for i, s := range sources {
		w.running.Go(func() { w.watch(background, s, &states[i]) })
	}
	w.watchFiles(background)
	return w, nil
}

// Close ends the watching and waits for it, looks under way included, which it breaks off. No Apply is called after it.
func (w *Watcher) Close() error {
	w.cancel()
	w.running.Wait()
	for _, s := range w.sources {
		s.end()
	}
	if w.transport != nil {
		w.transport.CloseIdleConnections()
	}
	return nil
}

// Reload has every source looked at now, as on SIGHUP. It does not wait for that.
func (w *Watcher) Reload() {
	for _, s := range w.sources {
		offer(s.told)
	}
}

// watch looks at a source again and again: when it is time, when it is told, and when it is asked and the last look
// is long enough ago.
func (w *Watcher) watch(ctx context.Context, s *Source, st *state) {
	next := w.after(s, st, 0)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.asked:
			if soonest := st.began.Add(w.options.MinRefresh); soonest.Before(next) {
				next = soonest
				timer.Reset(time.Until(next))
			}
			continue
		case <-s.told:
		case <-timer.C:
		}
		waiting := s.begin()
		fresh, err := w.look(ctx, s, st)
		if err != nil && ctx.Err() == nil {
			w.report(s, err)
		}
		if waiting != nil {
			close(waiting)
		}
		next = w.after(s, st, fresh)
		timer.Reset(time.Until(next))
	}
}

// look reads a source once and applies what has changed.
func (w *Watcher) look(ctx context.Context, s *Source, st *state) (fresh time.Duration, err error) {
	st.began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	found, err := s.fetch.fetch(ctx, w.client)
	if err == nil && len(found.data) == 0 { // such as a file that is being written
		err = errors.New("is empty")
	}
	if err == nil && st.changed(found.data) {
		if err = w.applyTo(ctx, s, found.data); err == nil {
			st.applied = found.data
		}
	}
	if err != nil {
		st.failures++
		return 0, fmt.Errorf("%s: %w", s, err)
	}
	st.failures = 0
	return found.fresh, nil
}

// applyTo gives the receiver data of its own, so that ours stays what it is.
func (w *Watcher) applyTo(ctx context.Context, s *Source, data []byte) error {
	w.applying.Lock()
	defer w.applying.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.apply(append([]byte(nil), data...)); err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	w.options.Log.Info("read anew", "source", s.String())
	return nil
}

func (w *Watcher) report(s *Source, err error) {
	w.options.Log.Warn("not read, what was read before stays in force", "source", s.String(), "error", err)
}

// after is when to look again: at the interval's end, or sooner if the answer is not fresh for so long; after a
// failure soon, and then ever later, up to the interval. A tenth less at random keeps many from coming at once.
func (w *Watcher) after(s *Source, st *state, fresh time.Duration) time.Time {
	interval := w.options.PollInterval
	if s.file != "" {
		interval = w.options.FileInterval
	}
	delay := interval
	switch {
	case st.failures > 0:
		delay = min(interval, firstRetry<<min(st.failures-1, 20))
	case fresh > 0:
		delay = min(interval, max(fresh, w.options.MinRefresh))
	}
	return time.Now().Add(delay - time.Duration(rand.Int64N(int64(delay)/10+1)))
}
