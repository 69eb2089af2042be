package memstore

import (
	"context"
	"math"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// base is a multiple of 600. In most tests the clock is a day later.
const base = 1_795_200_000

func clockAt(seconds int64) func() time.Time {
	return func() time.Time { return time.Unix(seconds, 0) }
}

func newStore(t testing.TB, now func() time.Time) *Store {
	t.Helper()
	return newStoreFor(t, now, 48*time.Hour)
}

func newStoreFor(t testing.TB, now func() time.Time, retention time.Duration) *Store {
	t.Helper()
	s, err := New(Options{
		Metrics: []Metric{
			{Name: "load", Frequency: time.Minute},
			{Name: "power", Frequency: time.Minute, Aggregation: AggregateSum},
			{Name: "ipc", Frequency: time.Minute, Aggregation: AggregateAvg},
			{Name: "fast", Frequency: time.Second, Aggregation: AggregateSum},
		},
		Retention: retention,
		Now:       now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func series(t testing.TB, s *Store, host, metric string, d Device) *Series {
	t.Helper()
	sr, err := s.Series(Key{"alpha", host, metric, d})
	if err != nil {
		t.Fatal(err)
	}
	return sr
}

// put stores values at a time in seconds and every frequency after it.
func put(t testing.TB, s *Store, sr *Series, at float64, values ...float64) {
	t.Helper()
	for i, v := range values {
		ms := int64(at*1000) + int64(i)*sr.metric.frequency
		if refused, err := s.Write([]Sample{{sr, ms, v}}); err != nil || len(refused) > 0 {
			t.Fatalf("sample %d: %v, %v", i, refused, err)
		}
	}
}

func thread(id string) Device { return Device{Type: "hwthread", TypeID: id} }

var nan = math.NaN()

func same(a, b []float64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) && !(math.IsNaN(a[i]) && math.IsNaN(b[i])) {
			return false
		}
	}
	return true
}

func read(t testing.TB, s *Store, sel Selection, r Range) Data {
	t.Helper()
	d, err := s.Read(context.Background(), sel, r)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func count(values []float64) (n int) {
	for _, v := range values {
		if v == v {
			n++
		}
	}
	return n
}

func maintain(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Maintain(); err != nil {
		t.Error(err)
	}
}
