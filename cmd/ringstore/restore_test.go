package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowCheckpoint is a checkpoint that the program reads as slowly as the test
// feeds it: a named pipe in the place of the file.
type slowCheckpoint struct {
	path    string
	records [][]byte // the head, one for each host, the end
	pipe    *os.File
}

// newSlowCheckpoint has a program write two hosts and stop, and puts a pipe in
// the place of its checkpoint.
func newSlowCheckpoint(t *testing.T, s settings, second int64) *slowCheckpoint {
	t.Helper()
	p := serve(t, s)
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d\ncpu_load,hostname=n2 value=2 %d", second, second))
	p.stopWell(t)
	files, err := filepath.Glob(filepath.Join(s.checkpoints(), "checkpoint-*.rsc"))
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	c := &slowCheckpoint{path: files[0], records: split(t, []byte(readFile(t, files[0])))}
	if err := os.Rename(c.path, c.path+".aside"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(c.path, 0o600); err != nil {
		t.Fatal(err)
	}
	// For reading too, or opening would wait for the program, and the program
	// would see an end when it is closed.
	if c.pipe, err = os.OpenFile(c.path, os.O_RDWR, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.pipe.Close() })
	return c
}

// split takes a checkpoint apart, see archive/FORMAT.md: a head of 8 bytes,
// and records of a length, a checksum and so many bytes.
func split(t *testing.T, file []byte) (records [][]byte) {
	t.Helper()
	cut := func(n int) {
		if n > len(file) {
			t.Fatalf("a record of %d bytes where %d are left", n, len(file))
		}
		records = append(records, file[:n])
		file = file[n:]
	}
	cut(8)
	for range 2 {
		cut(8 + int(binary.LittleEndian.Uint32(file)))
	}
	cut(len(file))
	return records
}

func (c *slowCheckpoint) feed(t *testing.T, record []byte) {
	t.Helper()
	if _, err := c.pipe.Write(record); err != nil {
		t.Fatal(err)
	}
}

// back puts the file in its place again.
func (c *slowCheckpoint) back(t *testing.T) {
	t.Helper()
	if err := os.Rename(c.path+".aside", c.path); err != nil {
		t.Fatal(err)
	}
}

// TestWhileRestoring: until the last record is there everything is 503 but
// /-/healthy, with and without a token, and NATS is not open; then all is there.
func TestWhileRestoring(t *testing.T) {
	s := newSettings(t)
	second := now() - 60
	c := newSlowCheckpoint(t, s, second)
	p := call(t, "-config", s.file(t))
	p.listens(t)
	for _, record := range c.records {
		for _, e := range endpoints() {
			for _, token := range []string{"", "garbage", token("admin")} {
				got := p.send(t, token, e.method, e.path, e.body)
				if strings.HasPrefix(e.path, "/-/healthy") {
					if got.status != 200 {
						t.Errorf("%s: %d", e.path, got.status)
					}
					continue
				}
				if got.status != 503 || got.header.Get("Retry-After") == "" {
					t.Errorf("%s %s: %d", e.method, e.path, got.status)
				}
				got.failure(t)
			}
		}
		if got := p.send(t, "", "GET", "/nowhere", ""); got.status != 503 {
			t.Errorf("/nowhere: %d", got.status)
		}
		if strings.Contains(p.stderr.String(), "NATS") {
			t.Error("NATS is open")
		}
		c.feed(t, record)
	}
	p.ready(t)
	for host, want := range map[string]float64{"n1": 1, "n2": 2} {
		if got := p.samples(t, host, "cpu_load", second-60, second+60); len(got) != 1 || got[second] != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// TestStopWhileRestoring: the program ends well and leaves the checkpoint as it
// was: half a store must not take the place of the whole one.
func TestStopWhileRestoring(t *testing.T) {
	s := newSettings(t)
	second := now() - 60
	c := newSlowCheckpoint(t, s, second)
	p := launch(t, nil, "-config", s.file(t))
	p.listens(t)
	c.feed(t, c.records[0])
	c.feed(t, c.records[1])
	p.signal(t, syscall.SIGTERM)
	// It notices between two records, so it gets the second host's again and again.
	eventually(t, "the end", func() bool {
		if !p.hasEnded() {
			c.feed(t, c.records[2])
		}
		return p.hasEnded()
	})
	if p.code != exitOK || !strings.Contains(p.stderr.String(), "told to stop while starting") {
		t.Errorf("exit code %d; stderr:\n%s", p.code, p.stderr.String())
	}
	c.back(t)
	files, err := os.ReadDir(s.checkpoints())
	if err != nil || len(files) != 2 || files[0].Name() != "LOCK" || files[1].Name() != filepath.Base(c.path) {
		t.Errorf("left: %v, %v", files, err)
	}
	again := serve(t, s)
	for host, want := range map[string]float64{"n1": 1, "n2": 2} {
		if got := again.samples(t, host, "cpu_load", second-60, second+60); len(got) != 1 || got[second] != want {
			t.Errorf("%s: %v", host, got)
		}
	}
}

// TestSecondSignal: who does not want to wait for what is in flight signals
// again.
func TestSecondSignal(t *testing.T) {
	s := newSettings(t)
	newSlowCheckpoint(t, s, now()-60)
	p := launch(t, nil, "-config", s.file(t))
	p.listens(t)
	eventually(t, "the end", func() bool {
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
