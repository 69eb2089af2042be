package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

const metrics = 3

// result is what one load did to the server. Sizes are the largest seen, in bytes.
type result struct {
	limit, storeLimit, accounted, resident float64
	samples, refused                       int64 // refused: requests
}

func configure(addr string) ([]byte, error) {
	type object = map[string]any
	configured := object{}
	for m := range metrics {
		configured[fmt.Sprint("m", m)] = object{"frequency": 60, "aggregation": nil}
	}
	return json.Marshal(object{
		"main":    object{"addr": addr},
		"auth":    object{"disabled": true},
		"limits":  object{"hosts": 10_000_000, "devices-per-host": 1_000_000},
		"metrics": configured,
		"metric-store": object{
			"retention-in-memory": "48h",
			"memory-cap":          1,
			"checkpoint-interval": "1m",
			"checkpoints":         object{"directory": "./checkpoints", "sync": "off"},
		},
	})
}

// measure starts a server in a new directory, and sends it a load.
func measure(ctx context.Context, o options, dir string, lines generator) (r result, err error) {
	addr, err := launch.FreeAddr()
	if err != nil {
		return r, err
	}
	config, err := configure(addr)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	if err != nil {
		return r, err
	}
	p, err := launch.Serve(ctx, o.program, dir)
	if err != nil {
		return r, err
	}
	defer p.Kill() // nothing of this directory is needed again
	s := &server{Process: p, url: "http://" + addr}
	if err := s.WaitReady(ctx, s.url); err != nil {
		return r, err
	}
	if err := s.send(ctx, o, lines, &r); err != nil {
		return r, s.Explain(err)
	}
	return r, nil
}

// server is a running ringstore.
type server struct {
	*launch.Process
	url string
}

// send sends a load and observes the server meanwhile.
func (s *server) send(ctx context.Context, o options, lines generator, r *result) error {
	ctx, cancel := context.WithTimeout(ctx, o.time)
	defer cancel()
	begin := time.Now()
	var next, samples, refused atomic.Int64
	var writing sync.WaitGroup
	for range o.writers {
		writing.Go(func() {
			for ctx.Err() == nil {
				body := lines(int(next.Add(1)-1), begin)
				ok, err := s.write(ctx, body)
				switch {
				case err != nil:
					return
				case ok:
					samples.Add(int64(bytes.Count(body, []byte("\n"))))
				default:
					refused.Add(1)
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	var err error
	for err == nil && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		err = s.observe(r)
	}
	cancel()
	writing.Wait()
	r.samples, r.refused = samples.Load(), refused.Load()
	return err
}

// write sends one request, and reports whether it was stored.
func (s *server) write(ctx context.Context, body []byte) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/api/write/", bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK, err
}

// observe updates the largest sizes.
func (s *server) observe(r *result) error {
	select {
	case <-s.Done():
		return errors.New("the server exited")
	default:
	}
	resident, err := launch.Memory(s.PID(), "VmHWM:") // the peak
	if err != nil {
		return err
	}
	resp, err := http.Get(s.url + "/metrics")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	r.resident = max(r.resident, float64(resident))
	r.limit = value(text, "ringstore_memory_cap_bytes")
	r.storeLimit = value(text, "ringstore_store_limit_bytes")
	r.accounted = max(r.accounted, value(text, "ringstore_store_bytes"))
	return nil
}

// value returns the value of a metric in the text format, 0 if it is missing.
func value(text []byte, name string) float64 {
	for line := range strings.Lines(string(text)) {
		if number, ok := strings.CutPrefix(line, name+" "); ok {
			v, _ := strconv.ParseFloat(strings.TrimSpace(number), 64)
			return v
		}
	}
	return 0
}
