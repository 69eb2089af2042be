package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"text/template"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/configs"
)

// runDemo runs a server that needs no files, with an issuer of its own and a
// synthetic cluster that pushes to it, until ctx ends.
func runDemo(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	flags := newFlags("demo", stderr)
	addr := flags.String("addr", "127.0.0.1:8082", "`address` of the HTTP server; another port is taken if this one is in use")
	natsAddr := flags.String("nats", "127.0.0.1:4222", "`address` of the NATS server; the same")
	dir := flags.String("dir", "", "data `directory`; without it a temporary one that is removed at the end")
	level := flags.String("loglevel", "err", "least `level` to log: debug, info, warn, err or crit")
	if err := parseFlags(flags, args, 0); err != nil {
		return err
	}
	log, err := newLogger(stderr, *level, logText, false)
	if err != nil {
		return usageError{err}
	}
	data, remove, err := dataDir(*dir)
	if err != nil {
		return err
	}
	return errors.Join(demo(ctx, freeAddr(*addr), freeAddr(*natsAddr), data, log, stdout, stderr), remove())
}

// dataDir returns a directory, and what to do with it at the end.
func dataDir(dir string) (string, func() error, error) {
	if dir != "" {
		return dir, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "ringstore-demo-")
	return dir, func() error { return os.RemoveAll(dir) }, err
}

// freeAddr returns addr, with port 0 in the place of one that is in use.
func freeAddr(addr string) string {
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
		return addr
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr // start says what is wrong with it
	}
	return net.JoinHostPort(host, "0")
}

func demo(ctx context.Context, addr, natsAddr, dir string, log *slog.Logger, stdout, stderr io.Writer) (err error) {
	issuer, err := newDemoIssuer()
	if err != nil {
		return err
	}
	cfg, err := configs.Parse("demo", demoConfig(addr, natsAddr, dir, issuer.publicKey()))
	if err != nil {
		return usageError{err}
	}
	cfg.Warnings = nil // they are about what the demo does on purpose
	s, err := start(ctx, cfg, log, stderr)
	if err != nil && ctx.Err() != nil { // Ctrl-C
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()

	screen, err := s.newScreen(issuer)
	if err != nil {
		return err
	}
	conn, err := natsgo.Connect("nats://"+screen.NATS, natsgo.UserInfo("demo", screen.API), natsgo.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("demo collectors: %w", err)
	}
	defer conn.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	c := demoCollectors{url: screen.URL + "/api/write/", client: client, token: screen.API, nats: conn}
	if err := c.history(ctx, screen.Now); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo history: %w", err)
	}
	pushCtx, stopPushing := context.WithCancel(ctx)
	var pushing sync.WaitGroup
	defer pushing.Wait()
	defer stopPushing()
	pushing.Go(func() { c.run(pushCtx, func(err error) { log.Error("demo push", "error", err) }) })
	if err := screenText.Execute(stdout, screen); err != nil {
		return err
	}
	return s.wait(ctx, nil, "")
}

func demoConfig(addr, natsAddr, dir, publicKey string) []byte {
	quote := func(s string) string {
		q, _ := json.Marshal(s) // a string cannot fail
		return string(q)
	}
	return fmt.Appendf(nil, `{
  "main": {"addr": %s, "jwt-public-key": %s},
  "auth": {"users-read": "all"},
  "metrics": %s,
  "metric-store": {
    "retention-in-memory": "4h",
    "checkpoints": {"directory": %s},
    "nats-subscriptions": [{"subscribe-to": %q, "cluster-tag": %q}]
  },
  "nats": {"embedded": {"listen": %s}}
}`, quote(addr), quote(publicKey), demoMetrics, quote(filepath.Join(dir, "checkpoints")), demoSubject, demoName, quote(natsAddr))
}

// screen is what the demo shows.
type screen struct {
	URL, NATS, Subject, Dir string
	Admin, API, User        string // tokens
	Now                     time.Time
}

func (s *service) newScreen(issuer demoIssuer) (screen, error) {
	now := time.Now().Truncate(time.Second)
	x := screen{
		URL:     "http://" + s.listener.Addr().String(),
		NATS:    s.nats.Addr().String(),
		Subject: demoSubject,
		Dir:     s.cfg.MetricStore.Checkpoints.Directory,
		Now:     now,
	}
	var errs [3]error
	x.Admin, errs[0] = issuer.token("admin")
	x.API, errs[1] = issuer.token("api")
	x.User, errs[2] = issuer.token("user")
	return x, errors.Join(errs[:]...)
}

// Before returns the Unix time some seconds before the demo began.
func (s screen) Before(seconds int64) int64 { return s.Now.Unix() - seconds }

var screenText = template.Must(template.New("demo").Parse(`
RingStore demo: 4 synthetic nodes push every second, over HTTP and NATS, with an hour of history.

  HTTP  {{.URL}}
  NATS  nats://{{.NATS}}  subject {{.Subject}}
  data  {{.Dir}}

Tokens, good for a day and for this process only (its issuer ends with it):

  admin  {{.Admin}}
  api    {{.API}}
  user   {{.User}}

Copy a line. A minute of one node's load:

curl -s -H 'Authorization: Bearer {{.User}}' -d '{"cluster":"demo","from":{{.Before 60}},"to":{{.Before 0}},"queries":[{"metric":"cpu_load","host":"node01"}]}' {{.URL}}/api/query/

The power of two nodes over the last hour, summed over its sockets, one value a minute:

curl -s -H 'Authorization: Bearer {{.User}}' -d '{"cluster":"demo","from":{{.Before 3600}},"to":{{.Before 0}},"queries":[{"metric":"cpu_power","host":"node01","resolution":60},{"metric":"cpu_power","host":"node02","resolution":60}]}' {{.URL}}/api/query/

Write a sample of your own, and ask for it:

curl -s -w '%{http_code}\n' -H 'Authorization: Bearer {{.API}}' --data-binary 'cpu_load,cluster=demo,hostname=laptop,type=node value=0.5 {{.Before 0}}' {{.URL}}/api/write/
curl -s -H 'Authorization: Bearer {{.User}}' -d '{"cluster":"demo","from":{{.Before 0}},"to":{{.Before -1}},"queries":[{"metric":"cpu_load","host":"laptop"}]}' {{.URL}}/api/query/

A user may not write (403), and without a token nobody may do anything (401):

curl -s -H 'Authorization: Bearer {{.User}}' --data-binary 'cpu_load,cluster=demo,hostname=laptop,type=node value=1' {{.URL}}/api/write/
curl -s -d '{}' {{.URL}}/api/query/

Are the nodes well, and what does the server say of itself:

curl -s -X GET -H 'Authorization: Bearer {{.API}}' -d '{"cluster":"demo","nodes":["node01","node02"],"metric-names":["cpu_load","ipc"]}' {{.URL}}/api/healthcheck/
curl -s -H 'Authorization: Bearer {{.Admin}}' {{.URL}}/metrics

Ctrl-C ends the demo.
`))
