package e2e

import (
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// killWithSlowJournal leaves a journal that takes seconds to replay: late samples, each for another
// window than the one before. Host n2 has the value 2 at second.
func killWithSlowJournal(t *testing.T, s settings, second int64) {
	t.Helper()
	const series, windows, hour = 300, 6, 3600
	p := process(t, s)
	var b strings.Builder
	for at := second - 20*hour; at < second; at += 60 {
		for i := range series {
			fmt.Fprintf(&b, "cpu_load,hostname=n1,type=hwthread,type-id=%d value=%d %d\n", i, i, at)
		}
		if b.Len() > 1<<20 {
			p.write(t, b.String())
			b.Reset()
		}
	}
	p.write(t, b.String())
	b.Reset()
	for i := range 1500 {
		at := second - 18*hour + int64(i%windows)*5*hour/2
		fmt.Fprintf(&b, "cpu_load,hostname=n1,type=hwthread,type-id=%d value=%d %d\n", i%series, i, at)
	}
	p.write(t, b.String())
	p.write(t, fmt.Sprintf("cpu_load,hostname=n2 value=2 %d", second))
	p.signal(t, syscall.SIGKILL)
	p.wait(t)
}

// TestWhileRestoring: until the store is restored, every path but /-/healthy answers 503, with and
// without a token, and NATS is not open.
func TestWhileRestoring(t *testing.T) {
	s := newSettings(t)
	second := now() - 60
	killWithSlowJournal(t, s, second)
	p := call(t, "-config", s.file(t))
	p.listens(t)
	rounds := 0
	for ; ; rounds++ {
		var problems []string
		problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
		for _, e := range append(endpoints(), struct{ action, method, path, body string }{"", "GET", "/nowhere", ""}) {
			for _, token := range []string{"", "garbage", token("admin")} {
				got := p.send(t, token, e.method, e.path, e.body)
				if want := map[string]int{"/-/healthy": 200, "/ping": 204}[e.path]; want != 0 {
					if got.status != want {
						problem("%s: %d", e.path, got.status)
					}
					continue
				}
				member := `"error"`
				if e.path == "/health" {
					member = `"status":"fail"`
				}
				if got.status != 503 || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, member) {
					problem("%s %s: %d %s", e.method, e.path, got.status, got.body)
				}
			}
		}
		log := p.stderr.String()
		if strings.Contains(log, "msg=restored") {
			break
		}
		if strings.Contains(log, "NATS") {
			problem("NATS is open")
		}
		for _, problem := range problems {
			t.Error(problem)
		}
	}
	if rounds == 0 {
		t.Error("it was ready before every endpoint was requested once")
	}
	p.ready(t)
	if got := p.samples(t, "n2", "cpu_load", second-60, second+60); len(got) != 1 || got[second] != 2 {
		t.Errorf("n2: %v", got)
	}
}

// TestStopWhileRestoring: the program stops without an error and changes nothing on disk: half a
// store must not replace the whole one. The next start asks the service manager for more time while
// it restores, and only then reports that it is ready.
func TestStopWhileRestoring(t *testing.T) {
	s := newSettings(t)
	second := now() - 60
	killWithSlowJournal(t, s, second)
	m := newManager(t)
	p := launch(t, m.starts(""), "-config", s.file(t))
	p.listens(t)
	p.signal(t, syscall.SIGTERM)
	if before := m.Until(t, stopping); slices.Contains(before, isReady) {
		t.Errorf("reported: %q", before)
	}
	if code := p.wait(t); code != exitOK || !strings.Contains(p.stderr.String(), "stopped while starting") {
		t.Errorf("exit code %d; stderr:\n%s", code, p.stderr.String())
	}
	if written, err := filepath.Glob(filepath.Join(s.checkpoints(), "windows-*")); err != nil || len(written) != 0 {
		t.Errorf("checkpoints: %v, %v", written, err)
	}
	again := launch(t, m.starts("900000"), "-config", s.file(t))
	if before := m.Until(t, isReady); len(before) < 2 || before[0] != extension || len(slices.Compact(before)) != 1 {
		t.Errorf("while restoring: %q", before)
	}
	again.ready(t)
	if got := again.samples(t, "n2", "cpu_load", second-60, second+60); len(got) != 1 || got[second] != 2 {
		t.Errorf("n2: %v", got)
	}
}

// TestSecondSignal: a second signal ends the program at once.
func TestSecondSignal(t *testing.T) {
	p := process(t, newSettings(t))
	stalled, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stalled.Close()
	fmt.Fprintf(stalled, "POST /api/write/?cluster=alpha HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\ncpu", token("api"))
	time.Sleep(50 * time.Millisecond) // until it is being read
	cmdtest.Eventually(t, "the end", func() bool {
		p.signal(t, syscall.SIGTERM)
		select {
		case <-p.ended:
			return true
		case <-time.After(10 * time.Millisecond):
			return false
		}
	})
	if p.code != -1 {
		t.Errorf("exit code %d, want to be killed by the signal", p.code)
	}
}
