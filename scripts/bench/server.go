package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// bench is one program's directory, data and way in.
type bench struct {
	options
	dir       string
	cluster   *synthetic.Cluster
	end       time.Time     // of the last interval of the load
	interval  time.Duration // between checkpoints
	args      []string      // of the program, beside its configuration
	client    *http.Client
	publicKey string
	token     string
}

const checkpointDir = "checkpoints"

// issue makes a key pair and a token that may write and query.
func (b *bench) issue() error {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	b.publicKey = base64.StdEncoding.EncodeToString(public)
	b.token, err = jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"sub":   "bench",
		"roles": []string{"admin", "api"},
		"exp":   time.Now().Add(24 * time.Hour).Unix(),
	}).SignedString(private)
	return err
}

// config has only keys that cc-metric-store knows too.
func (b *bench) config(addr string) ([]byte, error) {
	type object = map[string]any
	metrics := object{}
	for _, m := range b.cluster.Metrics() {
		var aggregation any
		if m.Aggregation != "" {
			aggregation = m.Aggregation
		}
		metrics[m.Name] = object{"frequency": int(m.Frequency.Seconds()), "aggregation": aggregation}
	}
	retention := max(48*time.Hour, time.Since(b.at(0)).Truncate(time.Second)+time.Hour)
	return json.Marshal(object{
		"main":    object{"addr": addr, "jwt-public-key": b.publicKey},
		"metrics": metrics,
		"metric-store": object{
			"retention-in-memory": retention.String(),
			"memory-cap":          100,
			"checkpoint-interval": b.interval.String(),
			"checkpoints":         object{"directory": "./" + checkpointDir},
		},
	})
}

// server is a running program.
type server struct {
	cmd  *exec.Cmd
	url  string
	log  string // file with what it prints
	done chan struct{}
	err  error // how it ended, once done is closed
	term sync.Once
}

// start runs a program on a free port and returns once it answers.
func (b *bench) start(ctx context.Context, p program) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	config, err := b.config(addr)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(b.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s := &server{url: "http://" + addr, log: log.Name(), done: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, p.path, append([]string{"-config", "config.json"}, b.args...)...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = b.dir, log, log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		s.err = s.cmd.Wait()
	}()
	if err := b.waitReady(ctx, s); err != nil {
		return nil, errors.Join(s.explain(err), s.stop())
	}
	return s, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// waitReady polls with a small query: a program that has no /-/ready either
// refuses connections or answers 503 until it has restored its data.
func (b *bench) waitReady(ctx context.Context, s *server) error {
	body := b.smallQuestion()
	for {
		status, err := b.probe(ctx, s.url, body)
		if err == nil && status == http.StatusOK {
			return nil
		}
		if err == nil && status != http.StatusServiceUnavailable {
			return fmt.Errorf("a query is answered with %d", status)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return errors.New("the program ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// stopTime bounds how long a program may write its last checkpoint.
const stopTime = 5 * time.Minute

// stop ends the program by SIGTERM, and by force if that takes too long. A
// second stop does nothing but return the same.
func (s *server) stop() error {
	s.term.Do(func() { _ = s.cmd.Process.Signal(syscall.SIGTERM) })
	select {
	case <-s.done:
	case <-time.After(stopTime):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
	if s.err != nil {
		return fmt.Errorf("the program's end: %w", s.err)
	}
	return nil
}

// kill ends the program by SIGKILL, if it still runs.
func (s *server) kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}

// explain adds the end of what the program printed.
func (s *server) explain(err error) error {
	const most = 2000
	text, readErr := os.ReadFile(s.log)
	if readErr != nil {
		return err
	}
	text = bytes.TrimSpace(text[max(0, len(text)-most):])
	return fmt.Errorf("%w; it printed:\n%s", err, text)
}
