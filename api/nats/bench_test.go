package nats

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/archive"
)

// publisherVariable makes the test binary a publisher at the address that it holds, so that
// BenchmarkNATS does not measure the publisher's CPU time. TOKEN and HEADER are its token and
// whether a header carries it.
const publisherVariable = "RINGSTORE_TEST_NATS_PUBLISHER"

const (
	benchLines = 678 // of a host in an interval
	benchHosts = 200
)

// publishAlone reads numbers from its input, publishes as many messages, and answers each with a
// line.
func publishAlone(address string) {
	token, inHeader := os.Getenv("TOKEN"), os.Getenv("HEADER") != ""
	var options []natsgo.Option
	if !inHeader {
		options = append(options, natsgo.UserInfo("collector", token))
	}
	c, err := natsgo.Connect(address, options...)
	if err != nil {
		panic(err)
	}
	var messages []*natsgo.Msg
	for i := range benchHosts {
		m := natsgo.NewMsg(subject)
		if inHeader {
			m.Header.Set("Authorization", "Bearer "+token)
		}
		m.Data = benchBatch(i)
		messages = append(messages, m)
	}
	for in, n := bufio.NewScanner(os.Stdin), 0; in.Scan(); {
		var count int
		_, _ = fmt.Sscan(in.Text(), &count)
		for range count {
			if err := c.PublishMsg(messages[n%benchHosts]); err != nil {
				panic(err)
			}
			n++
		}
		if err := c.FlushTimeout(time.Minute); err != nil {
			panic(err)
		}
		fmt.Println("done")
	}
	os.Exit(0)
}

// benchBatch returns one host's interval without timestamps, so that each sample has the current
// time.
func benchBatch(host int) []byte {
	var b strings.Builder
	for i := range benchLines {
		fmt.Fprintf(&b, "load,cluster=alpha,hostname=h%04d,type=hwthread,type-id=%d value=%d.%d\n", host, i, i, host)
	}
	return []byte(b.String())
}

// counted counts what is stored.
type storeCounter struct {
	Ingester
	samples atomic.Int64
}

func (c *storeCounter) Batch(ctx context.Context, src ingest.Source, batch []byte) (ingest.Report, error) {
	r, err := c.Ingester.Batch(ctx, src, batch)
	c.samples.Add(int64(r.Accepted))
	return r, err
}

// journaled returns an ingester with a journal for the harness's store.
func journaled(b *testing.B, h *harness) *ingest.Ingester {
	a, err := archive.Open(archive.Options{Dir: b.TempDir(), Store: h.store, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := a.Close(); err != nil {
			b.Error(err)
		}
	})
	if _, err := a.Restore(b.Context()); err != nil {
		b.Fatal(err)
	}
	return ingest.New(ingest.Options{Store: h.store, Writer: a})
}

type benchPublisher struct {
	b   *testing.B
	in  io.Writer
	out *bufio.Scanner
}

func newBenchPublisher(b *testing.B, address string, inHeader bool) *benchPublisher {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), publisherVariable+"="+address, "TOKEN="+token("api"))
	if inHeader {
		cmd.Env = append(cmd.Env, "HEADER=1")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return &benchPublisher{b, in, bufio.NewScanner(out)}
}

func (p *benchPublisher) send(messages int) {
	if _, err := fmt.Fprintln(p.in, messages); err != nil || !p.out.Scan() {
		p.b.Fatal("the publisher has gone", err)
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkNATS measures this process's CPU time per sample: receiving, checking, parsing, storing
// and the journal, without the publisher and without an external server.
func BenchmarkNATS(b *testing.B) {
	f := func(name string, embedded, inHeader bool) {
		b.Run(name, func(b *testing.B) {
			h := newHarness(b)
			h.options.Log = nil
			ingester := &storeCounter{Ingester: journaled(b, h)}
			h.options.Ingester = ingester
			var address string
			if !inHeader {
				h.connecting()
			}
			if embedded {
				address = addressOf(h.subscribe(""))
			} else {
				o := ""
				if !inHeader {
					h.options.Embedded = nil
					h.options.Callout = &Callout{AccountSeed: accountSeed}
					h.options.Username, h.options.Password = calloutUser, calloutPassword
					o = fmt.Sprintf("authorization {users: [{user: %q, password: %q}], auth_callout {issuer: %s, auth_users: [%s]}}",
						calloutUser, calloutPassword, publicOf(accountSeed), calloutUser)
				}
				address = newProcess(b, o).url
				s := h.subscribe(address)
				eventually(b, "it is connected", s.Connected)
				if err := s.connection.Load().conn.Flush(); err != nil {
					b.Fatal(err)
				}
			}
			p := newBenchPublisher(b, address, inHeader)
			p.send(benchHosts)
			eventually(b, "the series are known", func() bool { return ingester.samples.Load() == benchHosts*benchLines })
			before, samples := cpuTime(b), int64(0)
			for b.Loop() {
				p.send(5 * benchHosts)
				samples += 5 * benchHosts * benchLines
				for ingester.samples.Load() < benchHosts*benchLines+samples {
					time.Sleep(time.Millisecond)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/1e3/float64(samples), "cpu-µs/sample")
			if dropped := h.sum("ringstore_nats_dropped_total"); dropped != 0 {
				b.Errorf("%v messages dropped", dropped)
			}
		})
	}
	f("external/header", false, true)
	f("external/connection", false, false)
	f("embedded/header", true, true)
	f("embedded/connection", true, false)
}
