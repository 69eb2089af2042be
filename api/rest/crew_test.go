package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/memstore"
)

// fillForCrew writes data of a few hosts: values of 1 s for hours, whose entries are too large to be
// kept, and thread metrics with gaps.
func fillForCrew(t *testing.T, s *memstore.Store) {
	t.Helper()
	r := rand.New(rand.NewPCG(5, 5))
	var batch []memstore.Sample
	put := func(k memstore.Key, unix int64, v float64) {
		sr, err := s.Series(k)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, memstore.Sample{Series: sr, Time: unix * 1000, Value: v})
	}
	for host := range 3 {
		name := fmt.Sprintf("h%d", host)
		for i := range int64(20_000) {
			put(memstore.Key{Cluster: "c", Host: name, Metric: "fast"}, now-20_000+i, float64(i%777))
		}
		for i := range int64(200) {
			put(memstore.Key{Cluster: "c", Host: name, Metric: "cpu_load"}, now-12_000+60*i, r.NormFloat64())
			for thread := range 4 {
				if r.IntN(50) > 0 {
					put(memstore.Key{Cluster: "c", Host: name, Metric: "ipc", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(thread)}}, now-12_000+60*i, r.Float64())
				}
			}
		}
	}
	if refused, err := s.Write(batch); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}
}

// randomQueries returns the body of a request with many queries, some of them for what does not
// exist, without devices, or in error.
func randomQueries(t *testing.T, r *rand.Rand) string {
	t.Helper()
	var queries []map[string]any
	for range r.IntN(60) {
		q := map[string]any{
			"metric": []string{"ipc", "cpu_load", "fast", "ipc", "nope", "nope2"}[r.IntN(6)],
			"host":   fmt.Sprintf("h%d", r.IntN(4)),
		}
		switch r.IntN(4) {
		case 0:
			ids := []string{}
			for range r.IntN(30) {
				ids = append(ids, fmt.Sprint(r.IntN(6)))
			}
			q["type"], q["type-ids"], q["aggreg"] = "hwthread", ids, r.IntN(3) == 0
		case 1:
			q["resolution"] = []int{60, 90, 120}[r.IntN(3)]
		}
		if r.IntN(20) == 0 {
			q["scale-by"] = 0.5
		}
		queries = append(queries, q)
	}
	body := map[string]any{"cluster": "c", "from": now - int64(r.IntN(20_000)), "to": now, "queries": queries, "with-data": r.IntN(5) > 0}
	if r.IntN(3) == 0 {
		body["for-all-nodes"] = []string{"ipc", "nope3", "cpu_load"}
	}
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// An answer has the same bytes, whether helpers work on it or not.
func TestHelpersDoNotChangeAnswers(t *testing.T) {
	d := open(t)
	d.skipContract()
	fillForCrew(t, d.store)
	h := d.Config.Handler.(*rest.Handler)
	r := rand.New(rand.NewPCG(4, 4))
	for range 150 {
		body := randomQueries(t, r)
		h.SetAlone(time.Hour)
		want := d.send(t, "POST", "/api/query", body)
		h.SetAlone(0)
		got := d.send(t, "POST", "/api/query", body)
		if want.status != 200 || got.status != 200 || got.body != want.body {
			t.Fatalf("%s\n%d %.2000s\nwant\n%d %.2000s", body, got.status, got.body, want.status, want.body)
		}
		var decoded any
		if err := json.Unmarshal([]byte(got.body), &decoded); err != nil {
			t.Fatal(err)
		}
	}
}

// hooked calls a function before each read.
type hooked struct {
	*memstore.Store
	before func(ctx context.Context)
}

func (h hooked) Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error) {
	h.before(ctx)
	return h.Store.Read(ctx, sel, r)
}

func manyQueries(n int) string {
	return `{"cluster": "c", "from": 0, "to": 9999999999, "queries": [` +
		strings.TrimSuffix(strings.Repeat(`{"metric": "cpu_load", "host": "h1"},`, n), ",") + `]}`
}

// When the client of a request disconnects, nothing is read for it any more.
func TestHelpersStopWithTheClient(t *testing.T) {
	var reads, after atomic.Int64
	d := open(t, func(o *rest.Options) {
		o.Store = hooked{o.Store.(*memstore.Store), func(ctx context.Context) {
			reads.Add(1)
			if ctx.Err() != nil {
				after.Add(1)
			}
			time.Sleep(100 * time.Microsecond)
		}}
	})
	d.skipContract()
	d.Config.Handler.(*rest.Handler).SetAlone(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", d.URL+"/api/query", strings.NewReader(manyQueries(90_000)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token("admin"))
	resp, err := d.Client().Do(req)
	if err == nil {
		_, _ = io.ReadFull(resp.Body, make([]byte, 10))
		cancel()
		resp.Body.Close()
	}
	d.Close() // waits for the request
	if n := reads.Load(); n == 0 || n >= 90_000 {
		t.Errorf("%d reads", n)
	}
	if n := after.Load(); n > 16 {
		t.Errorf("%d reads began after the client had left", n)
	}
}

// A panic of a helper cuts off the answer of its request and nothing else.
func TestHelperPanics(t *testing.T) {
	var reads atomic.Int64
	d := open(t, func(o *rest.Options) {
		o.Store = hooked{o.Store.(*memstore.Store), func(context.Context) {
			if reads.Add(1) == 5_000 {
				panic("made for the test")
			}
		}}
	})
	d.skipContract()
	h := d.Config.Handler.(*rest.Handler)
	h.SetAlone(0)
	req, err := http.NewRequestWithContext(t.Context(), "POST", d.URL+"/api/query", strings.NewReader(manyQueries(10_000)))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token("admin"))
	if resp, err := d.Client().Do(req); err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil && resp.StatusCode == http.StatusOK {
			t.Error("the answer is complete")
		}
	}
	if got := d.send(t, "POST", "/api/query", manyQueries(1)); got.status != http.StatusOK {
		t.Errorf("after the panic: %d", got.status)
	}
	if !strings.Contains(d.log.String(), "made for the test") {
		t.Error("the panic is not logged")
	}
}

// An answer has an entry for each id that is named, also for one that is named again. What a few
// kilobytes can repeat is limited for everyone.
func TestRepeatedDevices(t *testing.T) {
	d := open(t)
	d.skipContract()
	fillForCrew(t, d.store)
	query := func(more string) string {
		return fmt.Sprintf(`{"cluster": "c", "from": %d, "to": %d, "queries": [{"metric": "ipc", "host": "h1", "type": "hwthread", %s}]}`, now-6000, now, more)
	}
	entries := func(body string) []json.RawMessage {
		t.Helper()
		got := d.send(t, "POST", "/api/query", body)
		var decoded struct{ Results [][]json.RawMessage }
		if err := json.Unmarshal([]byte(got.body), &decoded); err != nil || got.status != 200 {
			t.Fatalf("%d %.300s", got.status, got.body)
		}
		var all []json.RawMessage
		for _, r := range decoded.Results {
			all = append(all, r...)
		}
		return all
	}
	once, again := entries(query(`"type-ids": ["0", "1"]`)), entries(query(`"type-ids": ["1", "0", "1", "1"]`))
	for i, k := range []int{1, 0, 1, 1} {
		if len(again) != 4 || string(again[i]) != string(once[k]) {
			t.Fatalf("entry %d of %d: %.100s", i, len(again), again[i])
		}
	}
	if a, b := entries(query(`"type-ids": ["0", "1"], "aggreg": true`)), entries(query(`"type-ids": ["0", "1", "0"], "aggreg": true`)); string(a[0]) != string(b[0]) {
		t.Error("a device counts twice in an aggregate")
	}

	f := func(body string) {
		t.Helper()
		if got := d.send(t, "POST", "/api/query", body); got.status != 400 || !strings.Contains(got.body, "name each id and metric once") {
			t.Errorf("%.80s: %d %.200s", body, got.status, got.body)
		}
	}
	f(query(`"type-ids": ["0"` + strings.Repeat(`,"0"`, 1_900_000) + `]`))
	f(query(`"type-ids": ["0"` + strings.Repeat(`,"0"`, 1_000) + `], "subtype": "s", "subtype-ids": ["0"` + strings.Repeat(`,"0"`, 1_000) + `]`))
	f(`{"cluster": "c", "from": 0, "to": 9999999999, "for-all-nodes": ["ipc"` + strings.Repeat(`,"ipc"`, 50_000) + `]}`)
	if n := len(entries(`{"cluster": "c", "from": 0, "to": 9999999999, "for-all-nodes": ["ipc", "ipc"]}`)); n != 6 {
		t.Errorf("%d entries of three hosts for a metric that is named twice", n)
	}
}
