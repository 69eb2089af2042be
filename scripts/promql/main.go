// Command promql compares RingStore with a real Prometheus. It builds Prometheus and promtool from the
// module that testdata/prometheus pins, sends the same samples to both by remote write 1.0 and 2.0,
// with gaps and stale markers, and compares
//
//   - the answers to the same expressions over HTTP,
//   - those of a second Prometheus, which reads RingStore by remote read,
//   - the output of promtool query for both.
//
// With -measure it also prints the CPU time of queries over 1,000 series of a day beside that of
// Prometheus, and that of an aggregate over a node beside the sum over its hwthreads.
//
//	go run ./scripts/promql
//	go run ./scripts/promql -measure -prometheus /usr/local/bin/prometheus -promtool /usr/local/bin/promtool
//
// The exit code is 1 if there is any difference.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

type options struct {
	program, prometheus, promtool string
	measure                       bool
	hours                         int
}

func main() { os.Exit(launch.Main("promql", run)) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o options
	flags := flag.NewFlagSet("promql", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.program, "program", "", "the ringstore to run; default: built from this module")
	flags.StringVar(&o.prometheus, "prometheus", "", "the Prometheus to run; default: built")
	flags.StringVar(&o.promtool, "promtool", "", "the promtool to run; default: built")
	flags.BoolVar(&o.measure, "measure", false, "measure CPU times too")
	flags.IntVar(&o.hours, "hours", 24, "of samples to measure with")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return launch.InDirectory(ctx, "promql", o.program, func(dir, program string) error {
		o.program = program
		if err := o.buildPrometheus(ctx, dir, stdout); err != nil {
			return err
		}
		if err := compare(ctx, o, dir, stdout); err != nil {
			return err
		}
		if !o.measure {
			return nil
		}
		return measure(ctx, o, dir, stdout)
	})
}

// buildPrometheus builds what no flag names. The web page is not needed, and neither is service
// discovery, which is most of the program.
func (o *options) buildPrometheus(ctx context.Context, dir string, stdout io.Writer) error {
	for _, program := range []struct {
		path *string
		name string
	}{{&o.prometheus, "prometheus"}, {&o.promtool, "promtool"}} {
		if *program.path != "" {
			continue
		}
		fmt.Fprintln(stdout, "building", program.name)
		*program.path = filepath.Join(dir, program.name)
		build := exec.CommandContext(ctx, "go", "build", "-C", "scripts/promql/testdata/prometheus", "-tags", "remove_all_sd",
			"-o", *program.path, "github.com/prometheus/prometheus/cmd/"+program.name)
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program.name, err, out)
		}
	}
	return nil
}

// server is a running RingStore or Prometheus.
type server struct {
	*launch.Process
	url string
}

// stop ends the server as an operator would.
func (s *server) stop() {
	s.Signal(os.Interrupt)
	select {
	case <-s.Done():
	case <-time.After(30 * time.Second):
		s.Kill()
	}
}

// startRingStore starts a RingStore without authentication, in a directory of its own.
func startRingStore(ctx context.Context, o options, dir string) (*server, error) {
	addr, err := launch.FreeAddr()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`{
		"main": {"addr": %q}, "auth": {"disabled": true},
		"metrics": {
			"load": {"frequency": 60, "aggregation": null}, "flops_any": {"frequency": 60, "aggregation": "sum"},
			"ipc": {"frequency": 30, "aggregation": "avg"}, "ib_recv_total": {"frequency": 60, "aggregation": "sum"},
			"x": {"frequency": 60, "aggregation": "sum"}
		},
		"metric-store": {"retention-in-memory": "48h", "memory-cap": 8, "checkpoints": {"sync": "off"}}
	}`, addr)
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600)); err != nil {
		return nil, err
	}
	p, err := launch.Serve(ctx, o.program, dir)
	if err != nil {
		return nil, err
	}
	s := &server{p, "http://" + addr}
	if err := p.WaitReady(ctx, s.url); err != nil {
		p.Kill()
		return nil, err
	}
	return s, nil
}

// startPrometheus starts a Prometheus that receives remote write, and reads from a URL unless that is
// empty.
func startPrometheus(ctx context.Context, o options, dir, readFrom string) (*server, error) {
	addr, err := launch.FreeAddr()
	if err != nil {
		return nil, err
	}
	config := "global: {}\n"
	if readFrom != "" {
		config += fmt.Sprintf("remote_read: [{url: %q, read_recent: true}]\n", readFrom+"/api/v1/read")
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, []byte(config), 0o600)); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p, err := launch.Start(exec.CommandContext(ctx, o.prometheus, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
		"--web.listen-address="+addr, "--web.enable-remote-write-receiver", "--log.level=warn"), log)
	if err != nil {
		return nil, err
	}
	s := &server{p, "http://" + addr}
	if err := p.WaitReady(ctx, s.url); err != nil {
		p.Kill()
		return nil, err
	}
	return s, nil
}
