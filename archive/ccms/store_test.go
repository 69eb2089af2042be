package ccms

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// After a directory of cc-metric-store was read into a store, a query for a sample's time returns
// that sample.
func TestIntoStore(t *testing.T) {
	f := func(name string, frequency int64, decimals float64) {
		t.Run(name, func(t *testing.T) {
			store := newStore(t, frequency)
			sum, err := Read(t.Context(), os.DirFS(filepath.Join("testdata", name)), Options{}, intoStore(store))
			if err != nil || sum.Damaged+sum.Refused > 0 {
				t.Fatal(sum, err)
			}
			want := acknowledged(t, filepath.Join("testdata", name, "lines.txt"))
			hosts := []string{"n1", "n2"}[:len(sum.Hosts)]
			for _, host := range hosts {
				for _, q := range []memstore.Selection{
					{Metric: "cpu_load"},
					{Metric: "flops_any", Type: "hwthread", TypeIDs: []string{"0"}},
					{Metric: "flops_any", Type: "hwthread", TypeIDs: []string{"2"}},
					{Metric: "acc_power", Type: "accelerator", TypeIDs: []string{"00000000:49:00.0"}},
				} {
					q.Cluster, q.Host = "alpha", host
					id := ""
					if len(q.TypeIDs) > 0 {
						id = q.TypeIDs[0]
					}
					series := want[fmt.Sprintf("alpha|%s|%s|%s|%s||", host, q.Metric, q.Type, id)]
					if len(series) == 0 {
						t.Fatal("nothing was acknowledged")
					}
					for at, v := range series {
						d, err := store.Read(t.Context(), q, memstore.Range{From: at, To: at + frequency})
						if err != nil || len(d.Values) == 0 || d.From != at || math.Abs(d.Values[0]-v) > decimals {
							t.Errorf("%v at %d: %v from %d (%v), want %v", q, at, d.Values, d.From, err, v)
						}
					}
				}
			}
		})
	}
	f("json", 1, 0.0501)
	f("json-60s", 60, 0.0501)
	f("bin", 1, 0)
	f("bin-60s", 60, 0)
	f("wal", 1, 0)
}

func newStore(t *testing.T, frequency int64) *memstore.Store {
	t.Helper()
	var metrics []memstore.Metric
	for _, name := range []string{"cpu_load", "flops_any", "acc_power"} {
		metrics = append(metrics, memstore.Metric{Name: name, Frequency: time.Duration(frequency) * time.Second})
	}
	s, err := memstore.New(memstore.Options{
		Metrics: metrics, Retention: 48 * time.Hour,
		Now: func() time.Time { return time.Unix(1_795_311_100, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func intoStore(store *memstore.Store) Sink {
	return func(run Series) (int, error) {
		sr, err := store.Series(run.Key)
		if err != nil {
			return 0, err
		}
		var batch []memstore.Sample
		for i, v := range run.Values {
			batch = append(batch, memstore.Sample{Series: sr, Time: run.Times[i] * 1000, Value: v})
		}
		refused, err := store.Write(batch)
		return len(refused), err
	}
}
