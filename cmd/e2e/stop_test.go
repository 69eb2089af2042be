package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

const (
	loadLines   = 50 // of a batch: seconds of one host
	loadBatches = 20 // of a host
)

// load is a writer that counts acknowledged batches, host after host.
type load struct {
	name  string
	base  int64
	acked atomic.Int64 // batches
}

func (l *load) host(batch int64) string { return fmt.Sprintf("%s-%d", l.name, batch/loadBatches) }

// sample returns the time and value of line i of a batch.
func (l *load) sample(batch int64, i int) (second int64, value float64) {
	return l.base + batch%loadBatches*loadLines + int64(i), float64(batch)*loadLines + float64(i) + 0.25
}

func (l *load) batch(n int64) string {
	var b strings.Builder
	for i := range loadLines {
		second, value := l.sample(n, i)
		fmt.Fprintf(&b, "fast,cluster=alpha,hostname=%s value=%v %d\n", l.host(n), value, second)
	}
	return b.String()
}

// post writes over HTTP until an answer is not 200 or missing. It uses a connection of its own, as
// a collector does.
func (l *load) post(t testing.TB, url, token string) error {
	c := program{url: url, client: newClient(t, nil)}
	defer c.client.CloseIdleConnections()
	for {
		got, err := c.try(token, "POST", "/api/write/", strings.NewReader(l.batch(l.acked.Load())))
		if err != nil || got.status != http.StatusOK {
			return errors.Join(err, fmt.Errorf("status %d: %s", got.status, got.body))
		}
		l.acked.Add(1)
	}
}

// publish does the same over NATS, where a flush is the only acknowledgement.
func (l *load) publish(c *natsgo.Conn, token string) error {
	for {
		if err := errors.Join(c.PublishMsg(message(token, l.batch(l.acked.Load()))), c.FlushTimeout(cmdtest.Patience)); err != nil {
			return err
		}
		l.acked.Add(1)
	}
}

// stored returns how many samples of the first batches are stored. It fails if a value is wrong.
func (l *load) stored(t *testing.T, p *program, batches int64) (n int) {
	t.Helper()
	for first := int64(0); first < batches; first += loadBatches {
		got := p.samples(t, l.host(first), "fast", l.base, l.base+loadBatches*loadLines)
		for batch := first; batch < min(first+loadBatches, batches); batch++ {
			for i := range loadLines {
				second, want := l.sample(batch, i)
				value, ok := got[second]
				if ok && value != want {
					t.Fatalf("%s at %d: %v, want %v", l.host(batch), second, value, want)
				}
				if ok {
					n++
				}
			}
		}
	}
	return n
}

// underLoad runs four writers over HTTP and one over NATS. It calls end after each has written 100
// batches, and returns when all have stopped.
func underLoad(t *testing.T, p *program, end func()) (posting []*load, publishing *load) {
	t.Helper()
	base := time.Now().Unix() - 7200
	publishing = &load{name: "nats", base: base}
	c := connect(t, p.nats)
	var writers sync.WaitGroup
	writers.Go(func() { _ = publishing.publish(c, token("api")) })
	for i := range 4 {
		l := &load{name: fmt.Sprintf("http%d", i), base: base}
		posting = append(posting, l)
		writers.Go(func() { _ = l.post(t, p.url, token("api")) })
	}
	all := append([]*load{publishing}, posting...)
	cmdtest.Eventually(t, "every writer's 100th batch", func() bool {
		for _, l := range all {
			if l.acked.Load() < 100 {
				return false
			}
		}
		return true
	})
	end()
	writers.Wait()
	return posting, publishing
}

// TestStopUnderLoad: samples that were acknowledged, or received over NATS, before a SIGTERM or
// SIGINT are there after the next start.
func TestStopUnderLoad(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(s.String(), func(t *testing.T) {
			cfg := newSettings(t)
			p := process(t, cfg)
			var received float64
			posting, publishing := underLoad(t, p, func() {
				received = p.metric(t, "ringstore_ingest_samples_total", `transport="nats"`)
				p.signal(t, s)
				if code := p.wait(t); code != exitOK {
					t.Errorf("exit code %d", code)
				}
			})
			again := process(t, cfg)
			for _, l := range posting {
				acked := l.acked.Load()
				if got, want := l.stored(t, again, acked), int(acked)*loadLines; got != want {
					t.Errorf("%s: %d samples of %d acknowledged ones", l.name, got, want)
				}
			}
			// The publisher may not have counted its last message.
			if got := publishing.stored(t, again, publishing.acked.Load()+1); float64(got) < received {
				t.Errorf("NATS: %d samples, %v had been received", got, received)
			}
		})
	}
}

// TestPhasesSurviveARestart: series that are sampled at other times than the host's first one have
// the same answers after a restart, alone and summed, `from` included.
func TestPhasesSurviveARestart(t *testing.T) {
	s := newSettings(t)
	p := process(t, s)
	begin := now() - 3600
	for _, series := range []struct {
		thread int
		phase  int64
	}{{2, 17}, {0, 41}, {1, 3}} { // the first is not the first in order
		for i := range int64(10) {
			p.write(t, fmt.Sprintf("flops_any,hostname=n1,type=hwthread,type-id=%d value=%d %d", series.thread, i, begin+i*60+series.phase))
		}
	}
	ask := func(p *program) string {
		got := p.send(t, token("api"), "GET", "/api/query", fmt.Sprintf(`{"cluster":"alpha","from":%d,"to":%d,"queries":[`+
			`{"metric":"flops_any","host":"n1"},{"metric":"flops_any","host":"n1","type":"hwthread","type-ids":["0","1","2"]}]}`, begin, begin+900))
		if a := got.answer(t); len(a.Results) != 2 || len(a.Results[0]) != 1 || len(a.Results[1]) != 3 {
			t.Fatalf("%s", got.body)
		}
		return got.body
	}
	before := ask(p)
	p.stopWell(t)
	if after := ask(process(t, s)); after != before {
		t.Errorf("after:\n%s\nbefore:\n%s", after, before)
	}
}

// TestStopWaitsForRequestsInFlight: a write in flight is answered and stored, and no new connection
// is accepted meanwhile.
func TestStopWaitsForRequestsInFlight(t *testing.T) {
	s := newSettings(t)
	p := process(t, s)
	body, write := io.Pipe()
	answered := make(chan reply, 1)
	go func() {
		// With this header the client does not send before the server reads.
		got, err := p.try(token("api"), "POST", "/api/write/?cluster=alpha", body, "Expect", "100-continue")
		if err != nil {
			got.body = err.Error()
		}
		answered <- got
	}()
	second := now() - 60
	fmt.Fprintf(write, "cpu_load,hostname=n1 value=1 %d\n", second-60)
	p.signal(t, syscall.SIGTERM)
	cmdtest.Eventually(t, "the closed port", func() bool { return !p.accepts(t) })
	fmt.Fprintf(write, "cpu_load,hostname=n1 value=2 %d\n", second)
	write.Close()
	if got := <-answered; got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	if code := p.wait(t); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	got := process(t, s).samples(t, "n1", "cpu_load", second-60, second+60)
	if len(got) != 2 || got[second-60] != 1 || got[second] != 2 {
		t.Errorf("after the restart: %v", got)
	}
}

// accepts reports whether the program accepts connections.
func (p *program) accepts(t *testing.T) bool {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// TestOneProcessPerDirectory: a second process exits, says why, and does no harm.
func TestOneProcessPerDirectory(t *testing.T) {
	s := newSettings(t)
	p := process(t, s)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60))
	second := launch(t, nil, "-config", s.file(t))
	if code := second.wait(t); code != exitFailure {
		t.Errorf("exit code %d", code)
	}
	want := fmt.Sprintf("ringstore: checkpoint directory %s: is in use by process %q\n", s.checkpoints(), fmt.Sprint(p.cmd.Process.Pid))
	if !strings.HasSuffix(second.stderr.String(), want) {
		t.Errorf("stderr:\n%s\nwant at the end:\n%s", second.stderr.String(), want)
	}
	p.stopWell(t)
	if got := process(t, s).samples(t, "n1", "cpu_load", now()-120, now()); len(got) != 1 {
		t.Errorf("after it: %v", got)
	}
}

// TestKill: after a kill -9 everything is restored, even if the kill interrupted a checkpoint and the
// newest windows file is damaged.
func TestKill(t *testing.T) {
	s := newSettings(t)
	s["metric-store"]["checkpoint-interval"] = "1s"
	p := process(t, s)
	second := now() - 60
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1.5 %d", second))
	p.nextCheckpoint(t, s)
	p.signal(t, syscall.SIGKILL)
	if code := p.wait(t); code != -1 {
		t.Fatalf("exit code %d after SIGKILL", code)
	}
	half := cmdtest.WriteFile(t, filepath.Join(s.checkpoints(), "windows-9999999999998.rsw.tmp"), []byte("half"))
	windows, err := filepath.Glob(filepath.Join(s.checkpoints(), "windows-*.rsw"))
	windows = slices.DeleteFunc(windows, func(path string) bool { return !s.manifestNames(t, filepath.Base(path)) }) // of a checkpoint that the kill interrupted
	if err != nil || len(windows) == 0 {
		t.Fatal(windows, err)
	}
	damaged := cmdtest.WriteFile(t, slices.Max(windows), []byte("RSBLKF\x00\x02\xff\xff"))
	cmdtest.WriteFile(t, filepath.Join(s.checkpoints(), "windows-9999999999999.rsw"), []byte("RSBLKF\x00\x02\xff\xff")) // in no manifest

	again := process(t, s)
	if got := again.samples(t, "n1", "cpu_load", second-60, second+60); len(got) != 1 || got[second] != 1.5 {
		t.Errorf("after the kill: %v", got)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the half file: %v", err)
	}
	if _, err := os.Stat(damaged + ".damaged"); err != nil || !strings.Contains(again.stderr.String(), damaged) {
		t.Errorf("the damaged file: %v; stderr:\n%s", err, again.stderr.String())
	}
}

// nextCheckpoint waits until a checkpoint that begins after the call is complete: a manifest names
// its windows file.
func (p *program) nextCheckpoint(t *testing.T, s settings) {
	t.Helper()
	begin := fmt.Sprintf("windows-%013d.rsw", time.Now().UnixMilli())
	cmdtest.Eventually(t, "a checkpoint", func() bool {
		files, err := filepath.Glob(filepath.Join(s.checkpoints(), "windows-*.rsw"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if base := filepath.Base(f); base > begin && s.manifestNames(t, base) {
				return true
			}
		}
		return false
	})
}

// manifestNames reports whether a manifest names a file.
func (s settings) manifestNames(t *testing.T, file string) bool {
	t.Helper()
	manifests, err := filepath.Glob(filepath.Join(s.checkpoints(), "MANIFEST-*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(manifests, func(path string) bool {
		text, err := os.ReadFile(path) // an older one may be gone
		return err == nil && !strings.HasSuffix(path, ".tmp") && strings.Contains(string(text), file)
	})
}

// TestCleanupCheckpoints: -cleanup-checkpoints removes samples older than the retention, which is
// shorter than when they were written.
func TestCleanupCheckpoints(t *testing.T) {
	long := newSettings(t)
	short := newSettings(t)
	short["metric-store"]["checkpoints"] = long["metric-store"]["checkpoints"]
	short["metric-store"]["retention-in-memory"] = "1h"
	old, fresh := now()-8*3600, now()-600
	p := serve(t, long)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d\ncpu_load,hostname=n1 value=2 %d\ncpu_load,hostname=n2 value=3 %d", old, fresh, old))
	p.stopWell(t)
	cleaner := launch(t, nil, "-config", short.file(t), "-cleanup-checkpoints")
	if code := cleaner.wait(t); code != exitOK {
		t.Fatalf("exit code %d: %s", code, cleaner.stderr.String())
	}
	again := serve(t, long)
	if got := again.samples(t, "n1", "cpu_load", old-60, fresh+60); len(got) != 1 || got[fresh] != 2 {
		t.Errorf("n1: %v", got)
	}
	if got := again.samples(t, "n2", "cpu_load", old-60, fresh+60); len(got) != 0 {
		t.Errorf("n2: %v", got)
	}
}

// TestCleanupArchives: in mode "archive", removed samples are in Parquet files.
func TestCleanupArchives(t *testing.T) {
	long, short := newSettings(t), newSettings(t)
	archive := filepath.Join(t.TempDir(), "archive")
	for _, s := range []settings{long, short} {
		s["metric-store"]["checkpoints"] = long["metric-store"]["checkpoints"]
		s["metric-store"]["cleanup"] = map[string]any{"mode": "archive", "directory": archive}
	}
	short["metric-store"]["retention-in-memory"] = "1h"
	old := now() - 8*3600
	p := serve(t, long)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", old))
	p.stopWell(t)
	if got := runCommand(t, nil, "-config", short.file(t), "-cleanup-checkpoints"); got.code != exitOK {
		t.Fatalf("%+v", got)
	}
	day := time.Unix(old, 0).UTC().Format("2006-01-02")
	if info, err := os.Stat(filepath.Join(archive, "alpha", day+".parquet")); err != nil || info.Size() == 0 {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Join(long.checkpoints(), "blocks", "alpha", "*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
