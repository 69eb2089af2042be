package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(asAttacker) != "" {
		main()
	}
	os.Exit(m.Run())
}

// Each bound that is broken is reported, those of response times only if they are to decide.
func TestBounds(t *testing.T) {
	calm, slow := percentiles{10 * time.Millisecond, 30 * time.Millisecond}, percentiles{10 * time.Millisecond, 40 * time.Millisecond}
	f := func(name string, r result, a attack, latency, without string) {
		t.Helper()
		for want, got := range map[*string][]string{&latency: r.check(a, true), &without: r.check(a, false)} {
			if text := strings.Join(got, "; "); text != *want {
				t.Errorf("%s: got %q, want %q", name, text, *want)
			}
		}
	}
	f("nothing", result{growth: 63_999_999, write: calm, query: calm, honest: 5}, attack{}, "", "")
	f("memory", result{growth: 64_000_000}, attack{}, "memory grew by 64 MB", "memory grew by 64 MB")
	f("memory of samples", result{growth: 640_000_000, write: slow}, attack{stores: true}, "", "")
	f("slow writes", result{write: slow}, attack{}, "write 4.0 times as long", "")
	f("slow queries", result{query: slow}, attack{}, "query 4.0 times as long", "")
	f("a loss", result{lost: 1, honest: 5}, attack{unit: "messages"}, "1 of 5 messages lost", "1 of 5 messages lost")
	f("failed requests", result{failed: 2}, attack{}, "2 honest requests failed", "2 honest requests failed")
	f("shed requests", result{shed: 2}, attack{}, "2 honest requests shed", "")
}

// An attack that is of no use is run from start to end: nothing is lost and the table says so.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-short", "-length", "200ms", "-only", "unread-answers"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Split(strings.TrimSpace(out.String()), "\n"); len(rows) != 2 || !strings.HasSuffix(rows[1], "ok") {
		t.Error(out.String())
	}
}

func TestRefusesFlags(t *testing.T) {
	f := func(args ...string) {
		t.Helper()
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	f("-length", "0s")
	f("-nope")
	f("operand")
}

// Each attack has a name of its own, and says what its honest sender sends.
func TestAttacks(t *testing.T) {
	seen := make(map[string]bool)
	for _, a := range attacks() {
		if seen[a.name] || a.run == nil || (a.honest == nil) != (a.unit == "") {
			t.Errorf("%+v", a)
		}
		seen[a.name] = true
	}
}
