package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

// line is one decoded line of the audit.
type line struct {
	Time                  time.Time
	Transport, ID         string
	Peer, Issuer, Subject string
	Roles                 []string
	Action, Code          string
	Suppressed            int
}

// readLines decodes the audit, exactly one object per line, and empties the buffer.
func readLines(t testing.TB, b *bytes.Buffer) []line {
	t.Helper()
	var lines []line
	for text := range strings.Lines(b.String()) {
		var l line
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil || !strings.HasSuffix(text, "}\n") || dec.More() {
			t.Fatalf("%q: %v", text, err)
		}
		lines = append(lines, l)
	}
	b.Reset()
	return lines
}

func TestAuditLine(t *testing.T) {
	f := func(e Event, want string) {
		t.Helper()
		var b bytes.Buffer
		NewAudit(&b, newClock().now).Record(e)
		if b.String() != want+"\n" {
			t.Errorf("got  %swant %s", b.String(), want)
		}
	}
	at := time.Unix(noon, 5e8)
	f(Event{Time: at, Transport: "http", Peer: "192.0.2.1", Issuer: "jwt-public-key", Subject: "alice", Roles: User | Manager, Action: Write, Code: InsufficientRole},
		`{"time":"2027-01-15T08:00:00.5Z","transport":"http","peer":"192.0.2.1","issuer":"jwt-public-key","subject":"alice","roles":["manager","user"],"action":"write","code":"insufficient_role"}`)
	f(Event{Time: at, Transport: "http", Request: "job-17", Action: Query, Code: Missing},
		`{"time":"2027-01-15T08:00:00.5Z","transport":"http","id":"job-17","peer":"","issuer":"","subject":"","roles":[],"action":"query","code":"missing"}`)
	f(Event{Transport: "nats", Peer: "::1", Action: Query, Code: Missing},
		`{"time":"2027-01-15T08:00:00Z","transport":"nats","peer":"::1","issuer":"","subject":"","roles":[],"action":"query","code":"missing"}`)
	f(Event{Time: at, Peer: "a\nb\x00\x1b[31m", Subject: "\xff\"\\\u007f\u009b\u202e\U000e0001é"},
		`{"time":"2027-01-15T08:00:00.5Z","transport":"","peer":"a\nb\u0000\u001b[31m","issuer":"","subject":"\ufffd\"\\\u007f\u009b\u202e\udb40\udc01é","roles":[],"action":"","code":""}`)
	long := strings.Repeat("ä", 1000)
	f(Event{Time: at, Transport: long, Request: long, Peer: long, Issuer: long, Subject: "x" + long, Code: Reason(long)},
		strings.NewReplacer("LONG", strings.Repeat("ä", 128), "ODD", "x"+strings.Repeat("ä", 127)).Replace(
			`{"time":"2027-01-15T08:00:00.5Z","transport":"LONG","id":"LONG","peer":"LONG","issuer":"LONG","subject":"ODD","roles":[],"action":"","code":"LONG"}`))
}

func TestAuditSuppressesFloods(t *testing.T) {
	clock := newClock()
	var b bytes.Buffer
	audit := NewAudit(&b, clock.now)
	flood := func(n int, peer string, code Reason) {
		for range n {
			audit.Record(Event{Transport: "http", Peer: peer, Action: Write, Code: code})
		}
	}
	// want lists "peer code" for a line, with " +N" if it counts suppressed events.
	f := func(name string, want ...string) {
		t.Helper()
		var got []string
		for _, l := range readLines(t, &b) {
			s := l.Peer + " " + l.Code
			if l.Suppressed > 0 {
				s += fmt.Sprintf(" +%d", l.Suppressed)
			}
			if n := len(got); n > 0 && strings.HasPrefix(got[n-1], s+" x") {
				var times int
				_, _ = fmt.Sscanf(got[n-1][len(s):], " x%d", &times)
				got[n-1] = fmt.Sprintf("%s x%d", s, times+1)
				continue
			}
			if l.Suppressed == 0 {
				s += " x1"
			}
			got = append(got, s)
		}
		if strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("%s:\n got %q\nwant %q", name, got, want)
		}
	}
	flush := func() {
		t.Helper()
		if err := audit.Flush(); err != nil {
			t.Error(err)
		}
	}

	flood(10, "a", Missing)
	f("ten are written", "a missing x10")
	flood(1, "a", Missing)
	flood(99, "a", Missing)
	f("more are not")
	flood(11, "a", Expired)
	f("another reason has its own ten", "a expired x10")
	flood(2, "b", Missing)
	f("so has another peer", "b missing x2")
	flush()
	clock.advance(999 * time.Millisecond)
	flood(1, "a", Missing)
	flush()
	f("the second has not passed")

	clock.advance(time.Millisecond)
	flood(12, "b", Missing)
	f("the next event writes the counts", "a expired +1", "a missing +101", "b missing x10")
	clock.advance(time.Second)
	flush()
	f("so does Flush", "b missing +2")
	clock.advance(time.Hour)
	flush()
	f("once")

	flood(15, "c", Malformed)
	clock.advance(-time.Hour)
	flood(1, "c", Malformed)
	f("a clock set back ends the second too", "c malformed x10", "c malformed +5", "c malformed x1")

	flood(10, "c", Malformed)
	if err := errors.Join(audit.Close(), audit.Close()); err != nil {
		t.Error(err)
	}
	f("Close does not wait, and is safe twice", "c malformed x9", "c malformed +1")
}

func TestAuditForgetsPeers(t *testing.T) {
	clock := newClock()
	var b bytes.Buffer
	audit := NewAudit(&b, clock.now)
	const peers = 50_000
	for i := range peers {
		audit.Record(Event{Transport: "http", Peer: fmt.Sprintf("2001:db8::%x", i), Code: BadSignature})
	}
	audit.Record(Event{Transport: "http", Peer: "another", Code: Expired})
	if n := len(audit.peers); n > auditPeers+2 {
		t.Errorf("%d peers remembered", n)
	}
	if lines := readLines(t, &b); len(lines) != auditPeers+auditLines+1 {
		t.Errorf("%d lines", len(lines))
	}
	clock.advance(time.Second)
	if err := audit.Flush(); err != nil {
		t.Error(err)
	}
	lines := readLines(t, &b)
	if len(lines) != 1 || lines[0].Peer != otherPeers || lines[0].Code != string(BadSignature) || lines[0].Suppressed != peers-auditPeers-auditLines {
		t.Errorf("%+v", lines)
	}
	if n := len(audit.peers); n != 0 {
		t.Errorf("%d peers remembered after the second", n)
	}
}

// full is a writer to a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("no space left on device")

func TestAuditReportsFailedWrites(t *testing.T) {
	audit := NewAudit(full{}, newClock().now)
	audit.Record(Event{Code: Missing})
	audit.Record(Event{Code: Missing})
	if err := audit.Flush(); !errors.Is(err, errFull) {
		t.Error(err)
	}
	if err := audit.Flush(); err != nil {
		t.Errorf("reported twice: %v", err)
	}
	audit.Record(Event{Code: Missing})
	if err := audit.Close(); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

func TestAuditUnderConcurrentUse(t *testing.T) {
	clock := newClock()
	var b bytes.Buffer
	audit := NewAudit(&b, clock.now)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				audit.Record(Event{Transport: "http", Peer: fmt.Sprint(g, i%3), Code: Missing})
				if i%100 == 0 {
					clock.advance(time.Second)
					_ = audit.Flush()
				}
			}
		})
	}
	wg.Wait()
	if err := audit.Close(); err != nil {
		t.Error(err)
	}
	total := 0
	for _, l := range readLines(t, &b) {
		total += max(l.Suppressed, 1)
	}
	if total != 2000 {
		t.Errorf("%d events written of 2000", total)
	}
}
