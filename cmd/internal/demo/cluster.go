package demo

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

	"github.com/ringstore/ringstore/auth/ticker"
)

// The synthetic cluster.
const (
	cluster = "demo"
	nodes   = 4
	threads = 4 // of a node
	sockets = 2 // of a node
	history = time.Hour
	subject = "metrics.demo"
)

// metrics is the section of the configuration. A node writes a sample of each every second.
const metrics = `{
    "cpu_load":  {"frequency": 1, "aggregation": null},
    "mem_used":  {"frequency": 1, "aggregation": null},
    "flops_any": {"frequency": 1, "aggregation": "sum"},
    "cpu_power": {"frequency": 1, "aggregation": "sum"},
    "ipc":       {"frequency": 1, "aggregation": "avg"}
  }`

func nodeName(n int) string { return fmt.Sprintf("node%02d", n+1) }

// appendNode appends a node's samples of one moment in line protocol. The values are waves, each
// metric with a period of its own.
func appendNode(dst []byte, node int, at time.Time) []byte {
	wave := func(period, shift float64) float64 {
		return 0.5 + 0.5*math.Sin(2*math.Pi*(float64(at.Unix())/period+shift))
	}
	line := func(metric, device string, value float64) {
		dst = fmt.Appendf(dst, "%s,cluster=%s,hostname=%s%s value=%.6g %d\n", metric, cluster, nodeName(node), device, value, at.Unix())
	}
	shift := float64(node) / nodes
	line("cpu_load", ",type=node", threads*wave(600, shift))
	line("mem_used", ",type=node", 16+48*wave(1800, shift))
	for t := range threads {
		device := fmt.Sprintf(",type=hwthread,type-id=%d", t)
		line("flops_any", device, 1e9*(1+wave(300, shift+float64(t)/16)))
		line("ipc", device, 0.5+2*wave(450, shift+float64(t)/16))
	}
	for s := range sockets {
		line("cpu_power", fmt.Sprintf(",type=socket,type-id=%d", s), 90+160*wave(600, shift+float64(s)/32))
	}
	return dst
}

// collectors write for the nodes: those with even numbers over HTTP, the others over NATS, where
// the token was given when connecting.
type collectors struct {
	url    string // of the write endpoint
	client *http.Client
	token  string
	nats   *natsgo.Conn
}

// writeHistory writes the samples of the time before the demo began.
func (c collectors) writeHistory(ctx context.Context, until time.Time) error {
	for node := range nodes {
		var batch []byte
		for at := until.Add(-history); at.Before(until); at = at.Add(time.Second) {
			batch = appendNode(batch, node, at)
		}
		if err := c.post(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// run writes every second until ctx ends. It passes errors to warn and continues.
func (c collectors) run(ctx context.Context, warn func(error)) {
	for at := range ticker.Every(ctx, time.Second) {
		if err := c.push(ctx, at); err != nil && ctx.Err() == nil {
			warn(err)
		}
	}
}

func (c collectors) push(ctx context.Context, at time.Time) error {
	var errs []error
	for node := range nodes {
		batch := appendNode(nil, node, at)
		if node%2 == 0 {
			errs = append(errs, c.post(ctx, batch))
			continue
		}
		errs = append(errs, c.nats.Publish(subject, batch))
	}
	return errors.Join(errs...)
}

func (c collectors) post(ctx context.Context, batch []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(batch))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	answer, err := c.client.Do(r)
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
