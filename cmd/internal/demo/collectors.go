package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/cmd/internal/server"
)

// The NATS subjects.
const (
	metricsSubject = "metrics.demo"
	jobsSubject    = "jobs.demo"
)

// synthetic is the synthetic cluster: its collectors and its batch system.
type synthetic struct {
	collectors collectors
	scheduler  *scheduler
	user       client // to see which jobs are known
}

// newSynthetic connects the cluster to a server. The function that it returns closes the
// connections.
func newSynthetic(s *server.Server, p principals) (c synthetic, closeAll func(), err error) {
	connect := func(name, token string) (*natsgo.Conn, error) {
		conn, err := natsgo.Connect("nats://"+s.NATSAddr(), natsgo.UserInfo(name, token), natsgo.MaxReconnects(-1))
		if err != nil {
			return nil, fmt.Errorf("demo: NATS as %s: %w", name, err)
		}
		return conn, nil
	}
	metrics, err := connect(collector, p.people[collector])
	if err != nil {
		return c, nil, err
	}
	events, err := connect(batchSystem, p.scheduler)
	if err != nil {
		metrics.Close()
		return c, nil, err
	}
	began := time.Now().Truncate(interval)
	http := &http.Client{Transport: &http.Transport{}}
	as := func(name string) client { return client{http, "http://" + s.Addr(), p.people[name]} }
	c = synthetic{
		collectors: collectors{sampler{began, maphash.MakeSeed()}, as(collector), metrics},
		scheduler:  &scheduler{began, -history - time.Second, events},
		user:       as(user),
	}
	return c, func() { events.Close(); metrics.Close(); http.CloseIdleConnections() }, nil
}

// catchUp reports the jobs and writes the samples of the time before the demo began.
func (c synthetic) catchUp(ctx context.Context) error {
	if err := c.scheduler.report(c.scheduler.began); err != nil {
		return fmt.Errorf("demo jobs: %w", err)
	}
	if err := c.collectors.writeHistory(ctx); err != nil {
		return fmt.Errorf("demo history: %w", err)
	}
	if err := c.user.waitForJobs(ctx, jobsOf(user)); err != nil {
		return fmt.Errorf("demo jobs: %w", err)
	}
	return nil
}

// run goes on until ctx ends. It passes errors to warn and continues.
func (c synthetic) run(ctx context.Context, warn func(error)) {
	push := func(at time.Time) error { return c.collectors.push(ctx, at) }
	every(ctx, c.collectors.began, warn, c.scheduler.report, push)
}

// collectors write for the nodes: for those with even numbers over HTTP, for the others over NATS,
// where the token was given when connecting.
type collectors struct {
	sampler
	server client
	nats   *natsgo.Conn
}

// writeHistory writes the samples of the time before the demo began.
func (c collectors) writeHistory(ctx context.Context) error {
	jobs := jobsUntil(0)
	for node := 1; node <= nodes; node++ {
		var batch []byte
		for at := c.began.Add(-history); at.Before(c.began); at = at.Add(interval) {
			batch = c.append(batch, jobs, node, at)
		}
		if err := c.server.post(ctx, "/api/write/", batch); err != nil {
			return err
		}
	}
	return nil
}

func (c collectors) push(ctx context.Context, at time.Time) error {
	var errs []error
	jobs := jobsUntil(at.Sub(c.began))
	for node := 1; node <= nodes; node++ {
		batch := c.append(nil, jobs, node, at)
		switch {
		case len(batch) == 0:
		case node%2 == 0:
			errs = append(errs, c.server.post(ctx, "/api/write/", batch))
		default:
			errs = append(errs, c.nats.Publish(metricsSubject, batch))
		}
	}
	return errors.Join(errs...)
}

// scheduler is the job source: it reports over NATS which jobs start and end.
type scheduler struct {
	began    time.Time
	reported time.Duration // until when, relative to the start of the demo
	nats     *natsgo.Conn
}

// report reports what has happened since the last report.
func (s *scheduler) report(at time.Time) error {
	until := at.Sub(s.began)
	events := appendEvents(nil, s.began, s.reported, until)
	s.reported = until
	if len(events) == 0 {
		return nil
	}
	return s.nats.Publish(jobsSubject, events)
}

// every calls each function at every interval from a time on, until ctx ends. After a pause of the
// machine it goes on with the current time. It passes errors to warn and continues.
func every(ctx context.Context, from time.Time, warn func(error), each ...func(at time.Time) error) {
	for at := from; ; {
		t := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
		for _, f := range each {
			if err := f(at); err != nil && ctx.Err() == nil {
				warn(err)
			}
		}
		at = at.Add(interval)
		if now := time.Now().Truncate(interval); now.After(at) {
			at = now
		}
	}
}

// client calls the HTTP API with a token.
type client struct {
	http  *http.Client
	url   string
	token string
}

func (c client) post(ctx context.Context, path string, body []byte) error {
	_, err := c.send(ctx, http.MethodPost, path, body)
	return err
}

func (c client) send(ctx context.Context, method, path string, body []byte) (answer []byte, err error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	response, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.4096s", response.Status, answer)
	}
	return answer, err
}

// waitForJobs waits until the server knows that many jobs of the caller.
func (c client) waitForJobs(ctx context.Context, want int) error {
	const pause, longest = 20 * time.Millisecond, 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	for {
		text, err := c.send(ctx, http.MethodGet, "/api/jobs", nil)
		if err != nil {
			return err
		}
		var answer struct{ Jobs []json.RawMessage }
		if err := json.Unmarshal(text, &answer); err != nil {
			return err
		}
		if len(answer.Jobs) >= want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("expected %d jobs of the user; got %d", want, len(answer.Jobs))
		case <-time.After(pause):
		}
	}
}
