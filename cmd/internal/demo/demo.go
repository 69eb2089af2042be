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
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"text/template"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/cmd/internal/server"
	"github.com/ringstore/ringstore/cmd/internal/setup"
	"github.com/ringstore/ringstore/configs"
)

// Options say where the demo runs. All but Dir are required.
type Options struct {
	Addr     string // of the HTTP server
	NATSAddr string // of the NATS server
	Dir      string // for data; empty: a temporary one, removed at the end

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
	cfg.Warnings = nil // what they warn of is intended here
	s, err := server.Start(ctx, server.Options{Config: cfg, Log: o.Log, Audit: o.Audit, Version: o.Version})
	if err != nil && ctx.Err() != nil { // Ctrl-C
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()

	b, err := newBanner(s, cfg, issuer)
	if err != nil {
		return err
	}
	conn, err := natsgo.Connect("nats://"+b.NATS, natsgo.UserInfo("demo", b.API), natsgo.MaxReconnects(-1))
	if err != nil {
		return fmt.Errorf("demo collectors: %w", err)
	}
	defer conn.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	c := collectors{url: b.URL + "/api/write/", client: client, token: b.API, nats: conn}
	if err := c.writeHistory(ctx, b.Now); err != nil && ctx.Err() == nil {
		return fmt.Errorf("demo history: %w", err)
	}
	pushCtx, stopPushing := context.WithCancel(ctx)
	var pushing sync.WaitGroup
	defer pushing.Wait()
	defer stopPushing()
	pushing.Go(func() { c.run(pushCtx, func(err error) { o.Log.Error("demo push", "error", err) }) })
	if err := bannerText.Execute(o.Stdout, b); err != nil {
		return err
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
  "auth": {"users-read": "all"},
  "metrics": %s,
  "metric-store": {
    "retention-in-memory": "4h",
    "checkpoints": {"directory": %s},
    "nats-subscriptions": [{"subscribe-to": %q, "cluster-tag": %q}]
  },
  "nats": {"embedded": {"listen": %s}}
}`, quote(o.Addr), quote(publicKey), metrics, quote(filepath.Join(o.Dir, "checkpoints")), subject, cluster, quote(o.NATSAddr))
}

// banner is what the demo prints.
type banner struct {
	URL, NATS, Subject, Dir string
	Admin, API, User        string // tokens
	Now                     time.Time
}

func newBanner(s *server.Server, cfg *configs.Config, issuer issuer) (banner, error) {
	b := banner{
		URL:     "http://" + s.Addr(),
		NATS:    s.NATSAddr(),
		Subject: subject,
		Dir:     cfg.MetricStore.Checkpoints.Directory,
		Now:     time.Now().Truncate(time.Second),
	}
	var errs [3]error
	b.Admin, errs[0] = issuer.token("admin")
	b.API, errs[1] = issuer.token("api")
	b.User, errs[2] = issuer.token("user")
	return b, errors.Join(errs[:]...)
}

// Before returns the Unix time some seconds before the demo began.
func (b banner) Before(seconds int64) int64 { return b.Now.Unix() - seconds }

var bannerText = template.Must(template.New("demo").Parse(`
RingStore demo: 4 synthetic nodes write a sample of each metric every second, over HTTP and NATS.
They begin with an hour of history.

  HTTP  {{.URL}}
  NATS  nats://{{.NATS}}  subject {{.Subject}}
  data  {{.Dir}}

Tokens, valid for 24 hours or until the demo stops. In the demo, users may read everything; by default they
see their own jobs only:

  admin  {{.Admin}}
  api    {{.API}}
  user   {{.User}}

Commands to copy, for bash. The last 90 seconds of one node's load:

curl -s -H 'Authorization: Bearer {{.User}}' -d '{"cluster":"demo","from":'$(($(date +%s) - 90))',"to":'$(date +%s)',"queries":[{"metric":"cpu_load","host":"node01"}]}' {{.URL}}/api/query/

The power of two nodes in the hour before the demo began, summed over its sockets, one value a minute:

curl -s -H 'Authorization: Bearer {{.User}}' -d '{"cluster":"demo","from":{{.Before 3600}},"to":{{.Before 0}},"queries":[{"metric":"cpu_power","host":"node01","resolution":60},{"metric":"cpu_power","host":"node02","resolution":60}]}' {{.URL}}/api/query/

Write a sample of your own, and query it:

curl -s -w '%{http_code}\n' -H 'Authorization: Bearer {{.API}}' --data-binary 'cpu_load,cluster=demo,hostname=laptop,type=node value=0.5' {{.URL}}/api/write/
curl -s -H 'Authorization: Bearer {{.User}}' -d '{"cluster":"demo","from":'$(($(date +%s) - 60))',"to":'$(($(date +%s) + 2))',"queries":[{"metric":"cpu_load","host":"laptop"}]}' {{.URL}}/api/query/

Role user may not write (403), and every request needs a token (401):

curl -s -w '%{http_code}\n' -H 'Authorization: Bearer {{.User}}' --data-binary 'cpu_load,cluster=demo,hostname=laptop,type=node value=1' {{.URL}}/api/write/
curl -s -w '%{http_code}\n' -d '{}' {{.URL}}/api/query/

The state of the nodes, and the metrics of the server:

curl -s -X GET -H 'Authorization: Bearer {{.API}}' -d '{"cluster":"demo","nodes":["node01","node02"],"metric-names":["cpu_load","ipc"]}' {{.URL}}/api/healthcheck/
curl -s -H 'Authorization: Bearer {{.Admin}}' {{.URL}}/metrics

Press Ctrl-C to stop the demo.
`))
