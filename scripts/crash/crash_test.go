package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"testing"
)

// After each of 20 kills under load, the server has all acknowledged samples, and no invented ones.
func TestKill9(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-rounds", "20", "-longest", "250ms"}, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`: [1-9][0-9]{3,} samples acknowledged, 0 lost, 0 invented\n$`).Match(out.Bytes()) {
		t.Error(out.String())
	}
	t.Log(out.String())
	if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The comparison reports lost and invented samples.
func TestCompares(t *testing.T) {
	data := "[]"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/query/" {
			fmt.Fprintf(w, `{"results":[[{"resolution":1,"from":1000000,"data":%s}],[],[],[]]}`, data)
		}
	}))
	defer server.Close()
	f := func(name, holds string, lost, invented int) {
		t.Run(name, func(t *testing.T) {
			s := newSender(0, 1, 1_000_000)
			s.holds[slot{0, "", 1_000_000}] = value{}.after(5, true).after(1, true)
			s.holds[slot{0, "", 1_000_001}] = value{}.after(2, false) // not acknowledged
			data = holds
			var r result
			if err := s.compare(server.URL, &r); err != nil {
				t.Fatal(err)
			}
			if r.lost != lost || r.invented != invented || (r.example == "") != (lost+invented == 0) {
				t.Errorf("got %+v, want %d lost and %d invented", r, lost, invented)
			}
		})
	}
	f("as sent", `[1,null]`, 0, 0)
	f("more than was acknowledged", `[1,2]`, 0, 0)
	f("lost", `[null,2]`, 1, 0)
	f("another value", `[2]`, 0, 1)
	f("another time", `[1,null,1]`, 0, 1)
	f("nothing", `[]`, 1, 0)
	f("overwritten value", `[5]`, 0, 1)
}

// A number that was not acknowledged may stand in a slot until another one is acknowledged.
func TestOverwrites(t *testing.T) {
	v := value{}.after(1, true).after(2, false).after(3, false)
	for number, want := range map[float64]bool{0: false, 1: true, 2: true, 3: true} {
		if got := v.allows(number); got != want {
			t.Errorf("%v: got %v", number, got)
		}
	}
	if v = v.after(4, true); v.allows(1) || v.allows(3) || !v.allows(4) {
		t.Errorf("got %+v", v)
	}
}

// No two samples share a slot.
func TestSlotsOfTheirOwn(t *testing.T) {
	s := newSender(0, 3, 1_000_000)
	seen := make(map[slot]bool)
	for batch := range maxRounds * s.hosts {
		for _, x := range s.slots(batch) {
			if seen[x] {
				t.Fatalf("batch %d: %+v twice", batch, x)
			}
			seen[x] = true
		}
	}
}

func TestRefusesFlags(t *testing.T) {
	f := func(args ...string) {
		t.Helper()
		if _, err := parseOptions(args, t.Output()); err == nil {
			t.Errorf("%q is accepted", args)
		}
	}
	f("-rounds", "0")
	f("-writers", "-1")
	f("-longest", "0s")
	f("-nope")
	f("operand")
}
