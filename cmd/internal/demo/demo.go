// Package demo runs a server that needs no files, with an issuer of its own and a synthetic cluster
// that writes to it.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/ringstore/ringstore/cmd/internal/server"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// Where the demo listens, if nothing else is said.
const (
	DefaultAddr     = "127.0.0.1:8082"
	DefaultNATSAddr = "127.0.0.1:4222"
)

// Options say where the demo runs. All but Dir and Open are required.
type Options struct {
	Addr     string // of the HTTP server
	NATSAddr string // of the NATS server
	Dir      string // for data; empty: a temporary one, removed at the end
	Open     bool   // the web page in a browser

	Log     *slog.Logger
	Stdout  io.Writer // gets the banner: addresses, tokens and commands to copy
	Audit   io.Writer // gets the audit log
	Version string    // of the program
}

// Run runs the demo until ctx ends.
func Run(ctx context.Context, o Options) (err error) {
	if err := errors.Join(checkFree("-addr", o.Addr), checkFree("-nats", o.NATSAddr)); err != nil {
		return err
	}
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "ringstore-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	}
	return run(ctx, o)
}

// checkFree returns an error that names the flag if its address cannot be listened on. Another
// program that already listens there would answer the commands that the demo prints.
func checkFree(flag, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		return l.Close()
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("demo: %s %s: the port is in use; choose another one with %s, or port 0 for any free one", flag, addr, flag)
	}
	return fmt.Errorf("demo: %s: %w", flag, err)
}

func run(ctx context.Context, o Options) (err error) {
	issuer, err := newIssuer()
	if err != nil {
		return err
	}
	cfg, err := configs.Parse("demo", config(o, issuer.publicKey()))
	if err != nil {
		return setup.ConfigError{Err: err}
	}
	s, err := server.Start(ctx, server.Options{Config: cfg, Log: o.Log, Audit: o.Audit, Version: o.Version})
	if err != nil && ctx.Err() != nil { // Ctrl-C
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	p, err := issuer.principals()
	if err != nil {
		return err
	}
	c, closeCluster, err := newSynthetic(s, p)
	if err != nil {
		return err
	}
	defer closeCluster()
	if err := c.catchUp(ctx); err != nil {
		if ctx.Err() != nil { // Ctrl-C
			return nil
		}
		return err
	}
	if err := writeTokens(o.Dir, p.people); err != nil {
		return err
	}
	pushCtx, stopPushing := context.WithCancel(ctx)
	var pushing sync.WaitGroup
	defer pushing.Wait()
	defer stopPushing()
	pushing.Go(func() { c.run(pushCtx, func(err error) { o.Log.Error("demo push", "error", err) }) })
	b := newBanner(s, o, p.people)
	if err := b.print(o.Stdout); err != nil {
		return err
	}
	if o.Open {
		if err := openBrowser(b.Link(administrator)); err != nil {
			o.Log.Error("demo", "error", err)
		}
	}
	return s.Wait(ctx, nil, "")
}

func config(o Options, publicKey string) []byte {
	quote := func(s string) string {
		q, _ := json.Marshal(s) // cannot fail for a string
		return string(q)
	}
	return fmt.Appendf(nil, `{
  "main": {"addr": %s, "jwt-public-key": %s},
  "auth": {"jobs": {"nats": {"subject": %q, "authorization": "connection", "publishers": [%q]}}},
  "metrics": %s,
  "metric-store": {
    "retention-in-memory": "4h",
    "checkpoints": {"directory": %s},
    "nats-subscriptions": [{"subscribe-to": %q, "cluster-tag": %q}]
  },
  "nats": {"embedded": {"listen": %s}}
}`, quote(o.Addr), quote(publicKey), jobsSubject, batchSystem, metrics, quote(filepath.Join(o.Dir, "checkpoints")), metricsSubject, cluster, quote(o.NATSAddr))
}
