package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// requestTime bounds one request.
const requestTime = 2 * time.Minute

func newClient(connections int) *http.Client {
	return &http.Client{
		Timeout:   requestTime,
		Transport: &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true},
	}
}

// renderedBytes bounds the size of the request bodies of a round, approximately.
const renderedBytes = 64 << 20

// load writes all intervals in order. It renders the requests of a round, which has many intervals,
// before it sends the first one, so that the rendering does not compete with the server for the
// processor and its caches. It waits for the answers of an interval before it starts the next.
func (b *bench) load(ctx context.Context, url string) error {
	requests := (b.hosts + b.batch - 1) / b.batch
	values := make([]float64, len(b.cluster.Series()))
	var bodies [][]byte // of a round; each interval has requests bodies
	for step := 0; step < b.steps; {
		begin, size := step, 0
		for ; step < b.steps && size < renderedBytes; step++ {
			for i := range requests {
				k := (step-begin)*requests + i
				if k == len(bodies) {
					bodies = append(bodies, nil)
				}
				bodies[k] = b.render(bodies[k][:0], i, step, values)
				size += len(bodies[k])
			}
		}
		for n := range step - begin {
			if err := b.push(ctx, url, bodies[n*requests:(n+1)*requests]); err != nil {
				return fmt.Errorf("interval %d: %w", begin+n, err)
			}
		}
	}
	return nil
}

// render appends the lines of one request.
func (b *bench) render(dst []byte, request, step int, values []float64) []byte {
	first := request * b.batch
	for host := first; host < min(first+b.batch, b.hosts); host++ {
		dst = b.renderHost(dst, host, step, values)
	}
	return dst
}

// renderHost appends the lines of one host. values is scratch memory.
func (b *bench) renderHost(dst []byte, host, step int, values []float64) []byte {
	var order []int
	if b.shuffle {
		order = b.cluster.Order(host, step)
	}
	b.cluster.Step(host, step, values)
	return b.cluster.AppendLines(dst, host, values, order, b.at(step).Unix())
}

// at returns the time of a step.
func (b *bench) at(step int) time.Time {
	return b.end.Add(time.Duration(step-b.steps+1) * synthetic.Frequency)
}

// push sends all bodies with b.writers concurrent requests.
func (b *bench) push(ctx context.Context, url string, bodies [][]byte) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range b.writers {
		g.Go(func() error {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(bodies)) {
					return nil
				}
				if err := b.write(ctx, url, bodies[i]); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

// write sends one write request.
func (b *bench) write(ctx context.Context, url string, body []byte) error {
	answer, err := b.send(ctx, url+"/api/write/?cluster="+synthetic.Name, body)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 2000))
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}

// send sends a POST request with the token. The caller must close the body of the answer.
func (b *bench) send(ctx context.Context, url string, body []byte) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+b.token)
	r.Header.Set("Accept-Encoding", "identity")
	return b.client.Do(r)
}
