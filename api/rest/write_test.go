package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/memstore"
)

const goodLine = "cpu_load,hostname=n1 value=1 {0}\n"

func TestBadLinesAreReportedAndGoodOnesStored(t *testing.T) {
	d := open(t)
	f := func(path, body string, accepted int, rejected ...int) {
		t.Helper()
		for _, path := range []string{strings.Replace(path, "write", "write/", 1), path} {
			got := d.send(t, "POST", path, atBase(body))
			if len(rejected) == 0 {
				if got.status != 200 || got.body != "" {
					t.Errorf("%q: %d %s", body, got.status, got.body)
				}
				continue
			}
			fail := got.failure(t)
			if got.status != 400 || fail.Accepted == nil || *fail.Accepted != accepted || len(fail.Rejected) != len(rejected) {
				t.Errorf("%q: %d %s", body, got.status, got.body)
				continue
			}
			for i, r := range fail.Rejected {
				if r.Line != rejected[i] || r.Reason == "" {
					t.Errorf("%q: %+v, want line %d", body, r, rejected[i])
				}
			}
		}
	}
	f("/api/write?cluster=alpha", "", 0)
	f("/api/write?cluster=alpha", "\n\n# nothing\n", 0)
	f("/api/write?cluster=alpha", goodLine, 1)
	f("/api/write?cluster=alpha", strings.TrimSuffix(goodLine, "\n"), 1)
	f("/api/write", "cpu_load,cluster=beta,hostname=n1 value=1 {0}", 1)
	f("/api/write", goodLine, 0, 1)
	f("/api/write?cluster=..", goodLine, 0, 1)
	f("/api/write?cluster=alpha", "no_such_metric,hostname=n1 value=1 {0}", 0)
	f("/api/write?cluster=alpha", goodLine+"broken\n"+goodLine+"cpu_load value=1 {0}\n"+goodLine, 3, 2, 4)
	f("/api/write?cluster=alpha", "broken", 0, 1)
	f("/api/write?cluster=alpha", goodLine+`cpu_load,hostname=n1 value=1 {999999}`, 1, 2)
	f("/api/write?cluster=alpha", goodLine+`cpu_load,hostname=n1 value=1 {-999999}`, 1, 2)
	f("/api/write?cluster=alpha", goodLine+`cpu_load,hostname=n1,type="}{" value=x {0}`, 1, 2)

	got := d.send(t, "POST", "/api/write?cluster=alpha", strings.Repeat("broken\n", 500)).failure(t)
	if len(got.Rejected) != 100 || got.Rejected[99].Line != 100 || !strings.Contains(got.Error, "500 lines") {
		t.Errorf("of 500 bad lines %d are reported, want 100: %s", len(got.Rejected), got.Error)
	}
}

// The first line after a byte order mark is stored, not skipped as one of an unknown metric.
func TestByteOrderMarkIsSkipped(t *testing.T) {
	d := open(t)
	f := func(host, path, encoding string, compress func(string) string, status int) {
		t.Helper()
		body := "\xef\xbb\xbfcpu_load,hostname=" + host + " value=1 " + atBase("{0}") + "\r\n"
		got := d.send(t, "POST", path, compress(body), "Content-Encoding", encoding)
		if got.status != status || !slices.Contains(d.store.Hosts("alpha"), host) {
			t.Errorf("%s: %d %s, hosts %q", host, got.status, got.body, d.store.Hosts("alpha"))
		}
	}
	plain := func(s string) string { return s }
	f("plain", "/api/write?cluster=alpha", "", plain, 200)
	f("gzip", "/api/write?cluster=alpha", "gzip", gzipped, 200)
	f("influx1", "/write?db=alpha", "", plain, 204)
	f("influx2", "/api/v2/write?bucket=alpha", "gzip", gzipped, 204)
}

func TestBodiesMayBeGzip(t *testing.T) {
	d := open(t)
	f := func(encoding, body string, status int, text string) {
		t.Helper()
		got := d.send(t, "POST", "/api/write?cluster=alpha", body, "Content-Encoding", encoding)
		if got.status != status || status != 200 && !strings.Contains(got.failure(t).Error, text) {
			t.Errorf("%s: %d %s, want %d %s", encoding, got.status, got.body, status, text)
		}
	}
	line := atBase(goodLine)
	f("gzip", gzipped(line), 200, "")
	f("GZIP", gzipped(line), 200, "")
	f("x-gzip", gzipped(line), 200, "")
	f("identity", line, 200, "")
	f("gzip", gzipped(line)+gzipped(line), 200, "")
	f("gzip", gzipped(""), 200, "")
	f("gzip", line, 400, "not gzip")
	f("gzip", "", 400, "not gzip")
	f("gzip", gzipped(strings.Repeat(line, 1000))[:60], 400, "damaged")
	f("gzip", gzipped(line)+"x", 400, "damaged")
	f("gzip", strings.Replace(gzipped(line), gzipped(line)[len(gzipped(line))-5:], "xxxxx", 1), 400, "damaged")
	f("", gzipped(line), 400, "")
	f("deflate", line, 415, "gzip")
	f("zstd", line, 415, "gzip")
	f("gzip, gzip", gzipped(gzipped(line)), 415, "gzip")
	// Queries may be gzip, too.
	got := d.send(t, "GET", "/api/query", gzipped(atBase(`{"cluster":"alpha","from":{0},"to":{60},"queries":[{"metric":"cpu_load","host":"n1"}]}`)), "Content-Encoding", "gzip")
	if a := got.answer(t); len(a.Results[0]) != 1 || *a.Results[0][0].Avg != 1 {
		t.Errorf("query: %s", got.body)
	}
}

func TestBodiesAreLimited(t *testing.T) {
	line := atBase(goodLine)
	limit := int64(100 * len(line))
	d := open(t, func(o *rest.Options) { o.Limits.BodyBytes = limit })
	f := func(lines int, chunked, compressed bool, status int) {
		t.Helper()
		text := strings.Repeat(line, lines)
		headers := []string{"Content-Type", "text/plain"}
		if compressed {
			text = gzipped(text)
			headers = append(headers, "Content-Encoding", "gzip")
		}
		got := d.sendBody(t, "/api/write?cluster=alpha", text, chunked, headers...)
		if got.status != status {
			t.Errorf("%d lines, chunked %t, gzip %t: %d %s, want %d", lines, chunked, compressed, got.status, got.body, status)
		}
		if status == 413 && !strings.Contains(got.body, "set limits.body-bytes to accept larger requests") {
			t.Errorf("413 does not name the limit: %s", got.body)
		}
	}
	// Nothing is stored if the Content-Length is too large.
	f(5_000, false, false, 413)
	if n := d.store.Size().Series; n > 0 {
		t.Errorf("%d series from a body that is too large", n)
	}
	for _, chunked := range []bool{false, true} {
		for _, compressed := range []bool{false, true} {
			f(100, chunked, compressed, 200)
			f(101, chunked, compressed, 413)
			f(10_000, chunked, compressed, 413)
		}
	}
}

// A few kilobytes of gzip that decompress to 256 MiB must not allocate that much. Newlines are
// white space in JSON and empty lines in line protocol, so only the limit stops the decompression.
func TestGzipBombsCostLittle(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Limits.BodyBytes = 16 << 20 })
	bomb := strings.Repeat(gzipped(strings.Repeat("\n", 1<<20)), 256)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, path := range []string{"/api/write?cluster=alpha", "/api/query", "/api/free?to=1", "/api/healthcheck"} {
		want := http.StatusRequestEntityTooLarge
		if strings.Contains(path, "write") { // reading ends earlier, after too many empty lines
			want = http.StatusBadRequest
		}
		if got := d.send(t, "POST", path, bomb, "Content-Encoding", "gzip"); got.status != want {
			t.Errorf("%s: %d %.100s", path, got.status, got.body)
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 128<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

// faultyWriter is a Writer and Freer whose methods return err.
type faultyWriter struct {
	storage
	err error
}

func (w faultyWriter) WriteFrom(context.Context, memstore.Origin, []memstore.Sample) ([]memstore.Refusal, error) {
	return nil, w.err
}

func (w faultyWriter) Free(context.Context, [][]string, int64) (int, error) { return 0, w.err }

func TestErrorsOfTheWriterAnswer503(t *testing.T) {
	f := func(err error, text string) {
		t.Helper()
		d := open(t, func(o *rest.Options) {
			w := faultyWriter{err: err}
			o.Ingester = ingest.New(ingest.Options{Store: o.Store.(*memstore.Store), Writer: w, Now: clock})
			o.Freer = w
		})
		for _, path := range []string{"/api/write?cluster=alpha", "/api/free?to=1"} {
			body := atBase(goodLine)
			if strings.Contains(path, "free") {
				body = `[["*"]]`
			}
			got := d.send(t, "POST", path, body)
			if fail := got.failure(t); got.status != 503 || fail.Error != text || got.header.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s, want %s", path, got.status, got.body, text)
			}
			if fail := got.failure(t); strings.Contains(path, "write") && (fail.Accepted == nil || *fail.Accepted != 0) {
				t.Errorf("%s: %s", path, got.body)
			}
		}
		if log := d.log.String(); strings.Count(log, "level=WARN") != 2 || !strings.Contains(log, err.Error()) {
			t.Errorf("the log lacks the error: %s", log)
		}
	}
	f(fmt.Errorf("write /var/lib/secret: %w", syscall.ENOSPC), "the disk is full")
	f(fmt.Errorf("storing: %w", memstore.ErrMemory), "the memory for samples is full")
	f(fmt.Errorf("sync: %w", syscall.EIO), "the disk cannot be written")
	f(fmt.Errorf("open: %w", syscall.EROFS), "the file system is read-only; only queries are answered")
	f(fmt.Errorf("open: %w", syscall.EACCES), "the server has no permission to write to its directory; only queries are answered")
	f(errors.New("journal: /var/lib/secret is closed"), "the store cannot be written")
}

// A full store refuses new series with a 503, and continues to answer queries.
func TestAFullStoreRefusesWritesAndAnswers(t *testing.T) {
	store, err := memstore.New(memstore.Options{Metrics: metrics(), Retention: 72 * time.Hour, Now: clock, MemoryLimit: 300_000})
	if err != nil {
		t.Fatal(err)
	}
	d := open(t, func(o *rest.Options) {
		o.Store, o.Freer = store, storage{store}
		o.Ingester = ingest.New(ingest.Options{Store: store, Writer: storage{store}, Now: clock})
	})
	line := func(host int) string { return atBase(fmt.Sprintf("cpu_load,hostname=n%d value=1 {0}\n", host)) }
	full := 0
	for host := range 100 {
		got := d.send(t, "POST", "/api/write?cluster=alpha", line(host))
		if got.status == 200 {
			continue
		}
		if full++; got.status != 503 || got.failure(t).Error != "the memory for samples is full" || got.header.Get("Retry-After") == "" {
			t.Fatalf("host %d: %d %s", host, got.status, got.body)
		}
	}
	if full == 0 || full == 100 {
		t.Errorf("%d of 100 hosts were refused", full)
	}
	got := d.send(t, "GET", "/api/query", atBase(`{"cluster":"alpha","from":{0},"to":{60},"queries":[{"metric":"cpu_load","host":"n0"}]}`))
	if a := got.answer(t); len(a.Results[0]) != 1 || a.Results[0][0].Avg == nil {
		t.Errorf("query: %s", got.body)
	}
}

// A client that disconnects in the middle of a body causes no warning.
func TestClientsMayDisconnectInTheMiddleOfABody(t *testing.T) {
	d := open(t)
	conn, err := net.Dial("tcp", d.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	line := atBase(goodLine)
	fmt.Fprintf(conn, "POST /api/write?cluster=alpha HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Length: 100000\r\n\r\n%s%s",
		d.token("api"), line, line[:10])
	_ = conn.(*net.TCPConn).CloseWrite()
	got := readResponse(t, conn, "/api/write?cluster=alpha")
	conn.Close()
	if got.status != 400 || !strings.Contains(got.body, "incomplete") {
		t.Errorf("%d %s", got.status, got.body)
	}
	d.Close() // waits until the request is logged
	if log := d.log.String(); strings.Contains(log, "level=ERROR") || strings.Contains(log, "level=WARN") || !strings.Contains(log, "status=400") {
		t.Errorf("log: %s", log)
	}
}

func TestSlowBodiesAreCutOff(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Stall = 300 * time.Millisecond })
	head := func(length int) string {
		return fmt.Sprintf("POST /api/write?cluster=alpha HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Length: %d\r\n\r\n", d.token("api"), length)
	}
	t.Run("silent", func(t *testing.T) {
		conn := d.dial(t)
		fmt.Fprint(conn, head(100_000), atBase(goodLine))
		if got := readResponse(t, conn, "/api/write?cluster=alpha"); got.status != 408 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("too slow", func(t *testing.T) {
		conn := d.dial(t)
		fmt.Fprint(conn, head(100_000))
		var trickle sync.WaitGroup
		defer trickle.Wait()
		stop := make(chan struct{})
		defer close(stop)
		trickle.Go(func() {
			for {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
					if _, err := conn.Write([]byte("\n")); err != nil {
						return
					}
				}
			}
		})
		if got := readResponse(t, conn, "/api/write?cluster=alpha"); got.status != 408 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("refused before it is read", func(t *testing.T) {
		conn := d.dial(t)
		fmt.Fprint(conn, "POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
		if got := readResponse(t, conn, "/api/write"); got.status != 401 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("steady", func(t *testing.T) { // longer than the stall timeout in total
		conn := d.dial(t)
		block := strings.Repeat("#"+strings.Repeat("x", 1022)+"\n", 4)
		fmt.Fprint(conn, head(40*len(block)))
		for range 40 {
			time.Sleep(10 * time.Millisecond)
			fmt.Fprint(conn, block)
		}
		_ = conn.(*net.TCPConn).CloseWrite()
		if got := readResponse(t, conn, "/api/write?cluster=alpha"); got.status != 200 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

func TestSlowReadersAreCutOff(t *testing.T) {
	ended := make(chan struct{}, 1)
	d := open(t, func(o *rest.Options) {
		o.Stall = 50 * time.Millisecond
		o.Limits.ValuesPerQuery = 1 << 40
	})
	fill(t, d)
	signalEnds(d, ended)
	conn := d.dial(t)
	body := largeQuery(20_000)
	fmt.Fprintf(conn, "POST /api/query HTTP/1.1\r\nHost: x\r\nX-Auth-Token: %s\r\nContent-Length: %d\r\n\r\n%s", d.token("api"), len(body), body)
	<-ended // although the client read nothing
}

func TestConcurrentReadsAndWrites(t *testing.T) {
	d := open(t)
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := range 50 {
				line := fmt.Sprintf("flops_any,hostname=n%d,type=hwthread,type-id=%d value=1 {%d}", i%3, c, 60*i)
				if got := d.send(t, "POST", "/api/write?cluster=alpha", atBase(line)); got.status != 200 {
					t.Errorf("write: %d %s", got.status, got.body)
				}
			}
		})
		clients.Go(func() {
			for i := range 50 {
				d.send(t, "GET", "/api/query", atBase(`{"cluster":"alpha","from":{0},"to":{3000},"for-all-nodes":["flops_any"]}`)).answer(t)
				d.send(t, "GET", "/api/debug", "")
				d.send(t, "GET", "/api/healthcheck", `{"cluster":"alpha","nodes":["n1"],"metric-names":["flops_any"]}`)
				if i%10 == 9 {
					d.send(t, "POST", "/api/free?to="+atBase("{300}"), `[["alpha"]]`)
				}
			}
		})
	}
	clients.Wait()
	got := d.send(t, "GET", "/api/query", atBase(`{"cluster":"alpha","from":{600},"to":{3000},"queries":[{"metric":"flops_any","host":"n1"}]}`)).answer(t)
	if e := got.Results[0][0]; e.Max == nil || *e.Max != 4 {
		t.Errorf("the sum of four threads is %s, want 4", resttest.Show(e.Max))
	}
}

// With ?verbose=1 an answer counts what became of the batch, in an error too. Without it a success
// has no body.
func TestVerboseWrite(t *testing.T) {
	d := open(t)
	f := func(path, body string, status int, want map[string]any) {
		t.Helper()
		got := d.send(t, "POST", path, atBase(body))
		var counts map[string]any
		if got.body != "" {
			if err := json.Unmarshal([]byte(got.body), &counts); err != nil {
				t.Fatal(err)
			}
			delete(counts, "status")
			delete(counts, "error")
			delete(counts, "rejected")
		}
		if got.status != status || fmt.Sprint(counts) != fmt.Sprint(want) {
			t.Errorf("%s: %d %s, want %d %v", path, got.status, got.body, status, want)
		}
	}
	const batch = goodLine + "cpu_loda,hostname=n1 value=1\ntopproc1,hostname=n1 value=\"python3\"\ncpu_loda,hostname=n2 value=1\n" +
		"mem_used,hostname=n1,unit=GB value=1 {0}\nmem_used,hostname=n1,unit=B value=1 {0}\n"
	counts := map[string]any{"accepted": 3, "unconfigured": 3, "unconfigured-metrics": []string{"cpu_loda", "topproc1"}, "duplicates": 1}
	f("/api/write?cluster=alpha", batch, 200, nil)
	f("/api/write?cluster=alpha&verbose=0", batch, 200, nil)
	f("/api/write/?cluster=alpha&verbose=1", batch, 200, counts)
	f("/api/write?cluster=alpha&verbose=true", batch, 200, counts)
	f("/api/write?cluster=alpha&verbose=1", batch+"cpu_load value=1\n", 400, counts)
	f("/api/write?cluster=alpha&verbose=yes", batch, 400, nil)
	f("/api/write?cluster=alpha&verbose=1", "", 200, map[string]any{"accepted": 0, "unconfigured": 0, "unconfigured-metrics": []string{}, "duplicates": 0})
	influx := map[string]any{"accepted": 1, "unconfigured": 2, "unconfigured-metrics": []string{"disk_used", "mem_free"}, "duplicates": 0}
	f("/write?db=alpha&verbose=1", "mem,host=n1 used=1,free=2\ndisk used=5\n", 200, influx)
	f("/api/v2/write?bucket=alpha&verbose=1", "mem,host=n1 used=1,free=2\ndisk used=5\n", 200, influx)

	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "no_%d%s,hostname=n1 value=1\n", i, strings.Repeat("x", 1000))
	}
	got := d.send(t, "POST", "/api/write?cluster=alpha&verbose=1", many.String())
	var answered struct {
		Unconfigured int
		Metrics      []string `json:"unconfigured-metrics"`
	}
	if err := json.Unmarshal([]byte(got.body), &answered); err != nil || answered.Unconfigured != 300 || len(answered.Metrics) != 100 || len(got.body) > 30_000 {
		t.Errorf("%v, %d lines, %d metrics, %d bytes", err, answered.Unconfigured, len(answered.Metrics), len(got.body))
	}
}
