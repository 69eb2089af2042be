package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// metric is what is written; its frequency is a second.
const (
	cluster     = "crash"
	metric      = "m"
	checkpoints = "checkpoints" // the directory
)

// server is a running ringstore.
type server struct {
	cmd  *exec.Cmd
	url  string
	log  string        // file
	done chan struct{} // closed when it has ended
}

// configure writes the configuration and returns where the server will listen.
func configure(o options, dir string) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr = l.Addr().String()
	type object = map[string]any
	kept := object{"directory": "./" + checkpoints}
	if o.sync != "" {
		kept["sync"] = o.sync
	}
	config, err := json.Marshal(object{
		"main":    object{"addr": addr},
		"auth":    object{"disabled": true},
		"metrics": object{metric: object{"frequency": 1, "aggregation": nil}},
		"metric-store": object{
			"retention-in-memory": "48h",
			"checkpoint-interval": o.checkpoint.String(),
			"checkpoints":         kept,
		},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	return addr, errors.Join(err, l.Close())
}

func start(ctx context.Context, o options, dir, addr string) (*server, error) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{url: "http://" + addr, log: log.Name(), done: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, o.program, "-config", "config.json")
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = dir, log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // it is killed
	}()
	return s, nil
}

// kill is kill -9.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// ready returns when the server has restored its store.
func (s *server) ready(ctx context.Context) error {
	for {
		r, err := http.Get(s.url + "/-/ready")
		if err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return s.explain(errors.New("the program ended by itself"))
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// explain adds the end of what the program printed.
func (s *server) explain(err error) error {
	text, readErr := os.ReadFile(s.log)
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w; it printed:\n%s", err, bytes.TrimSpace(text[max(0, len(text)-4000):]))
}
