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

// Options configures a Watcher. A zero field means its default.
type Options struct {
	// PollInterval is the maximum time between two reads of a source that is not a file. Default 5
	// minutes.
	PollInterval time.Duration
	// FileInterval is the maximum time between two reads of a file, for changes without a
	// notification as on a network file system. Default 30 s.
	FileInterval time.Duration
	// MinRefresh is the minimum time between two requested reads. Default 10 s, at most
	// PollInterval.
	MinRefresh time.Duration
	// Timeout limits one read. Default 10 s.
	Timeout time.Duration
	// OpenWait is how long Open waits for URLs and discovery. Default 2 s.
	OpenWait time.Duration
	// Transport carries HTTP requests; nil: a transport of the Watcher's own with Go's defaults.
	Transport http.RoundTripper
	// Log receives changes and failures, never a source's content; nil discards them.
	Log *slog.Logger
}

// firstRetry is the delay after the first failure; it doubles up to the interval.
const firstRetry = time.Second

// Watcher watches sources until it is closed.
type Watcher struct {
	options Options
	client  *http.Client
	sources []*Source

	applying  sync.Mutex
	cancel    context.CancelFunc
	running   sync.WaitGroup
	transport *http.Transport // the Watcher's own; nil with Options.Transport
}

// Open reads all sources once, in parallel, and then watches them. It fails, and watches nothing,
// if a file or a reference cannot be read or its Apply refuses it. For URLs and discovery, such
// failures are only logged and retried, and Open waits for them for at most Options.OpenWait: an
// identity provider that is down must not keep the users of others out. The end of ctx cancels Open,
// but does not stop the returned Watcher.
func Open(ctx context.Context, o Options, sources ...*Source) (*Watcher, error) {
	o.PollInterval = cmp.Or(o.PollInterval, 5*time.Minute)
	o.FileInterval = cmp.Or(o.FileInterval, 30*time.Second)
	o.MinRefresh = min(cmp.Or(o.MinRefresh, 10*time.Second), o.PollInterval)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.OpenWait = cmp.Or(o.OpenWait, 2*time.Second)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	w := &Watcher{options: o, sources: sources}
	w.client = newClient(o, w)
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.cancel = cancel
	detach := context.AfterFunc(ctx, cancel)
	first := make([]firstRead, len(sources))
	for i, s := range sources {
		first[i].done = make(chan struct{})
		w.running.Go(func() { w.start(background, s, &first[i]) })
	}
	err := w.await(ctx, first)
	detach()
	if err = errors.Join(err, ctx.Err()); err != nil {
		_ = w.Close()
		return nil, err
	}
	w.watchFiles(background)
	return w, nil
}

// firstRead is the result of a source's first read. err is set before done is closed.
type firstRead struct {
	done chan struct{}
	err  error
}

// start reads a source for the first time, and watches it unless it is required and cannot be read.
func (w *Watcher) start(ctx context.Context, s *Source, first *firstRead) {
	st := new(state)
	_, err := w.read(ctx, s, st)
	if err != nil && s.required {
		first.err = err
		close(first.done)
		return
	}
	if err != nil && ctx.Err() == nil {
		w.report(s, st, err)
	}
	close(first.done)
	w.watch(ctx, s, st)
}

// await waits for the first reads: for those of required sources until they are done, for the others
// until OpenWait has passed since the call.
func (w *Watcher) await(ctx context.Context, first []firstRead) error {
	limit, cancel := context.WithTimeout(ctx, w.options.OpenWait)
	defer cancel()
	var errs []error
	for i, s := range w.sources {
		if s.required {
			<-first[i].done
			errs = append(errs, first[i].err)
		}
	}
	for i, s := range w.sources {
		if s.required {
			continue
		}
		select {
		case <-first[i].done:
			continue
		default:
		}
		select {
		case <-first[i].done:
		case <-limit.Done():
			if ctx.Err() == nil {
				w.options.Log.Warn("source does not answer; not waiting for it", "source", s.String())
			}
		}
	}
	return errors.Join(errs...)
}

// Close cancels all reads and stops watching. It waits until no Apply is running; none is called
// afterwards. Closing twice is safe.
func (w *Watcher) Close() error {
	w.cancel()
	w.running.Wait()
	for _, s := range w.sources {
		s.close()
	}
	if w.transport != nil {
		w.transport.CloseIdleConnections()
	}
	return nil
}

// watch reads a source until ctx ends: on time, when its file has changed, and on request once
// MinRefresh has passed.
func (w *Watcher) watch(ctx context.Context, s *Source, st *state) {
	next := w.after(s, st, 0)
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.refresh:
			if soonest := st.began.Add(w.options.MinRefresh); soonest.Before(next) {
				next = soonest
				timer.Reset(time.Until(next))
			}
			continue
		case <-s.changed:
		case <-timer.C:
		}
		waiter := s.takeWaiter()
		fresh, err := w.read(ctx, s, st)
		if err != nil && ctx.Err() == nil {
			w.report(s, st, err)
		}
		if waiter != nil {
			close(waiter)
		}
		next = w.after(s, st, fresh)
		timer.Reset(time.Until(next))
	}
}

// read reads a source once and applies its data if it has changed. fresh is how long the data
// counts as current.
func (w *Watcher) read(ctx context.Context, s *Source, st *state) (fresh time.Duration, err error) {
	st.began = time.Now()
	ctx, cancel := context.WithTimeout(ctx, w.options.Timeout)
	defer cancel()
	found, err := s.fetch.fetch(ctx, w.client)
	if err == nil && len(found.data) == 0 { // such as a file being written
		err = errors.New("is empty")
	}
	applied := false
	if err == nil && st.changed(found.data) {
		switch err = w.applyTo(ctx, s, found.data); {
		case err == nil:
			st.applied, applied = found.data, true
		case errors.Is(err, ErrDropped):
			st.applied = nil // the same data as before has to be applied again
		}
	}
	if err != nil {
		st.failures++
		return 0, fmt.Errorf("%s: %w", s, err)
	}
	st.failures = 0
	if st.log.succeeded(time.Now()) && !applied { // applyTo has logged new data
		w.options.Log.Info("source read again; its data has not changed", "source", s.String())
	}
	return found.fresh, nil
}

// applyTo passes a copy of data, because Apply owns it.
func (w *Watcher) applyTo(ctx context.Context, s *Source, data []byte) error {
	w.applying.Lock()
	defer w.applying.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.apply(append([]byte(nil), data...)); err != nil {
		return fmt.Errorf("refused: %w", err)
	}
	w.options.Log.Info("source read", "source", s.String())
	return nil
}

func (w *Watcher) report(s *Source, st *state, err error) {
	if !st.log.failed(err.Error(), time.Now()) {
		return
	}
	what := "source not read; the previous data stays active"
	if errors.Is(err, ErrDropped) {
		what = "source refused"
	}
	w.options.Log.Warn(what, "source", s.String(), "error", err)
}

// after returns the time of the next read: after the interval, or earlier if the data is fresh for
// less; after failures, with delays that double up to the interval. A random tenth less spreads the
// reads of many instances.
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
