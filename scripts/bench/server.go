package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ringstore/ringstore/memstore/synthetic"
	"github.com/ringstore/ringstore/scripts/launch"
)

// bench is the state of one measurement: the directory, the data and the access to the program.
type bench struct {
	options
	dir       string
	cluster   *synthetic.Cluster
	end       time.Time     // of the last interval of the load
	interval  time.Duration // between checkpoints
	args      []string      // additional arguments of the program
	client    *http.Client
	publicKey string
	token     string
}

const checkpointDir = "checkpoints"

// issue creates a key pair and a token that can write and query.
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

// config returns a configuration with only those keys that cc-metric-store also has.
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
	*launch.Process
	url  string
	term sync.Once
}

// start runs a program on a free port and waits until it answers.
func (b *bench) start(ctx context.Context, p program) (*server, error) {
	addr, err := launch.FreeAddr()
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
	cmd := exec.CommandContext(ctx, p.path, append([]string{"-config", "config.json"}, b.args...)...)
	cmd.Dir = b.dir
	running, err := launch.Start(cmd, log)
	if err != nil {
		return nil, err
	}
	s := &server{Process: running, url: "http://" + addr}
	if err := b.waitReady(ctx, s); err != nil {
		return nil, errors.Join(s.Explain(err), s.stop())
	}
	return s, nil
}

// waitReady polls with a small query, because the peer may not have /-/ready. Until a program has
// restored its data, it refuses connections or answers 503.
func (b *bench) waitReady(ctx context.Context, s *server) error {
	body := b.smallQuestion()
	for {
		status, err := b.probe(ctx, s.url, body)
		if err == nil && status == http.StatusOK {
			return nil
		}
		if err == nil && status != http.StatusServiceUnavailable {
			return fmt.Errorf("query: expected status 200, got %d", status)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.Done():
			return errors.New("the program exited")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stopTime is the maximum time for a stop, in which the program writes its last checkpoint.
const stopTime = 5 * time.Minute

// stop stops the program with SIGTERM, and kills it if that takes too long. It can be called again
// and then returns the same error.
func (s *server) stop() error {
	s.term.Do(func() { s.Signal(syscall.SIGTERM) })
	select {
	case <-s.Done():
	case <-time.After(stopTime):
		s.Kill()
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("the program exited: %w", err)
	}
	return nil
}
