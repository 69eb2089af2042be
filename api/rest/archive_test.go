package rest_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/memstore"
)

// archiveNode is the series of a node of one real cluster: 519 of them.
var archiveNode = []struct {
	metric, kind     string
	metrics, devices int
}{
	{"node", "", 41, 1},
	{"socket", "socket", 3, 2},
	{"gpu", "accelerator", 5, 8},
	{"thread", "hwthread", 6, 72},
}

// fillArchive stores a day of the nodes of a job, a value per minute, and returns the request with
// which cc-backend archives the job: all metrics of all nodes.
func fillArchive(t testing.TB, nodes int) (*memstore.Store, []byte) {
	const minutes = 1440
	type query struct {
		Type       *string  `json:"type,omitempty"`
		Metric     string   `json:"metric"`
		Host       string   `json:"host"`
		Resolution int      `json:"resolution"`
		TypeIDs    []string `json:"type-ids,omitempty"`
		Aggregate  bool     `json:"aggreg"`
	}
	o := memstore.Options{Retention: 72 * time.Hour, Now: clock}
	var queries []query
	for _, g := range archiveNode {
		for m := range g.metrics {
			q := query{Metric: fmt.Sprint(g.metric, m)}
			o.Metrics = append(o.Metrics, memstore.Metric{Name: q.Metric, Frequency: time.Minute, Aggregation: memstore.AggregateSum})
			if g.kind != "" {
				q.Type = &g.kind
				for id := range g.devices {
					q.TypeIDs = append(q.TypeIDs, strconv.Itoa(id))
				}
			}
			queries = append(queries, q)
		}
	}
	store, err := memstore.New(o)
	if err != nil {
		t.Fatal(err)
	}
	request := struct {
		Cluster   string  `json:"cluster"`
		Queries   []query `json:"queries"`
		From      int64   `json:"from"`
		To        int64   `json:"to"`
		WithStats bool    `json:"with-stats"`
		WithData  bool    `json:"with-data"`
	}{"alpha", nil, base, base + minutes*60, true, true}
	for n := range nodes {
		var batch []memstore.Sample
		for _, q := range queries {
			q.Host = fmt.Sprint("node", n)
			request.Queries = append(request.Queries, q)
			for id := range max(1, len(q.TypeIDs)) {
				key := memstore.Key{Cluster: "alpha", Host: q.Host, Metric: q.Metric}
				if q.Type != nil {
					key.Device = memstore.Device{Type: *q.Type, TypeID: q.TypeIDs[id]}
				}
				sr, err := store.Series(key)
				if err != nil {
					t.Fatal(err)
				}
				batch = append(batch, memstore.Sample{Series: sr})
			}
		}
		for minute := range int64(minutes) {
			for i := range batch {
				batch[i].Time, batch[i].Value = (base+minute*60)*1000, float64((minute*7+int64(i))%1000)/100
			}
			if refused, err := store.Write(batch); err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
		}
	}
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return store, body
}

// cc-backend asks for all metrics of all nodes of a job at once, and stores the job without its
// footprint if that fails.
func TestJobOf40NodesIsAnsweredInLittleMemory(t *testing.T) {
	const nodes, series, minutes = 40, 519, 1440
	if testing.Short() {
		t.Skip("stores 30 million samples")
	}
	store, body := fillArchive(t, nodes)
	d := open(t, func(o *rest.Options) {
		o.Store, o.Freer, o.Log = store, storage{store}, nil
		o.Ingester = ingest.New(ingest.Options{Store: store, Writer: storage{store}, Now: clock})
	})
	req, err := http.NewRequestWithContext(t.Context(), "GET", d.URL+"/api/query?version=v2", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+d.token("api"))
	d.skipContract() // checking the answer against the description keeps all of it

	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	before := m.HeapInuse + m.StackInuse
	var peak uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			runtime.ReadMemStats(&m)
			peak = max(peak, m.HeapInuse+m.StackInuse)
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var c answerCounter
	if _, err := io.Copy(&c, resp.Body); err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-stopped
	if resp.StatusCode != 200 || c.entries != nodes*series || c.values != nodes*series*minutes {
		t.Errorf("status %d, %d entries with %d values, want %d with %d", resp.StatusCode, c.entries, c.values, nodes*series, nodes*series*minutes)
	}
	t.Logf("the memory grew by %d MB for an answer of %d MB", int64(peak-before)>>20, c.bytes>>20)
	if peak > before+64<<20 {
		t.Errorf("the memory grew by %d MB, want less than 64", (peak-before)>>20)
	}
}

// answerCounter counts the entries and the values of an answer that is written to it.
type answerCounter struct {
	bytes, entries, values int
	last                   byte
	inData                 bool
}

func (c *answerCounter) Write(p []byte) (int, error) {
	for _, b := range p {
		switch {
		case b == '[' && c.last == ':':
			c.inData = true // also the list of results, which begins with another bracket
		case b == ']' && c.inData:
			c.values, c.inData = c.values+1, false
		case b == ',' && c.inData:
			c.values++
		case b == '{' && c.last != 0:
			c.entries++
			c.inData = false
		}
		c.last = b
	}
	c.bytes += len(p)
	return len(p), nil
}
