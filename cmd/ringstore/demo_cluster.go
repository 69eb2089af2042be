package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// The demo's cluster and what its nodes measure each second.
const (
	demoName    = "demo"
	demoNodes   = 4
	demoThreads = 4
	demoSockets = 2
	demoHistory = time.Hour
)

const demoMetrics = `{
    "cpu_load":  {"frequency": 1, "aggregation": null},
    "mem_used":  {"frequency": 1, "aggregation": null},
    "flops_any": {"frequency": 1, "aggregation": "sum"},
    "cpu_power": {"frequency": 1, "aggregation": "sum"},
    "ipc":       {"frequency": 1, "aggregation": "avg"}
  }`

func demoNode(n int) string { return fmt.Sprintf("node%02d", n+1) }

// appendNode appends what a node measures at a moment, in line protocol: values
// that rise and fall, each with a period of its own.
func appendNode(dst []byte, node int, at time.Time) []byte {
	wave := func(period, shift float64) float64 {
		return 0.5 + 0.5*math.Sin(2*math.Pi*(float64(at.Unix())/period+shift))
	}
	line := func(metric, device string, value float64) {
		dst = fmt.Appendf(dst, "%s,cluster=%s,hostname=%s%s value=%.6g %d\n", metric, demoName, demoNode(node), device, value, at.Unix())
	}
	shift := float64(node) / demoNodes
	line("cpu_load", ",type=node", demoThreads*wave(600, shift))
	line("mem_used", ",type=node", 16+48*wave(1800, shift))
	for t := range demoThreads {
		device := fmt.Sprintf(",type=hwthread,type-id=%d", t)
		line("flops_any", device, 1e9*(1+wave(300, shift+float64(t)/16)))
		line("ipc", device, 0.5+2*wave(450, shift+float64(t)/16))
	}
	for s := range demoSockets {
		line("cpu_power", fmt.Sprintf(",type=socket,type-id=%d", s), 90+160*wave(600, shift+float64(s)/32))
	}
	return dst
}

// demoCollectors push for the nodes: those with an even number over HTTP, the
// others over NATS, where the connection has brought the token of role api.
type demoCollectors struct {
	url    string // of the write endpoint
	client *http.Client
	token  string
	nats   *natsgo.Conn
}

const demoSubject = "metrics.demo"

// history writes what the nodes measured before the demo began.
func (d demoCollectors) history(ctx context.Context, until time.Time) error {
	for node := range demoNodes {
		var batch []byte
		for at := until.Add(-demoHistory); at.Before(until); at = at.Add(time.Second) {
			batch = appendNode(batch, node, at)
		}
		if err := d.post(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// run pushes each second until ctx ends. What fails is told to warn, and goes
// on with the next second.
func (d demoCollectors) run(ctx context.Context, warn func(error)) {
	for at := range ticks(ctx, time.Second) {
		if err := d.push(ctx, at); err != nil && ctx.Err() == nil {
			warn(err)
		}
	}
}

func (d demoCollectors) push(ctx context.Context, at time.Time) error {
	var errs []error
	for node := range demoNodes {
		batch := appendNode(nil, node, at)
		if node%2 == 0 {
			errs = append(errs, d.post(ctx, batch))
			continue
		}
		errs = append(errs, d.nats.Publish(demoSubject, batch))
	}
	return errors.Join(errs...)
}

func (d demoCollectors) post(ctx context.Context, batch []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(batch))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	answer, err := d.client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 4096))
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return err
}
