package memstore

import (
	"fmt"
	"reflect"
	"testing"
	"time"
)

func TestHealthOfMetricThatLeftTheConfigurationIsMissing(t *testing.T) {
	now := func() time.Time { return time.Unix(base, 0) }
	s := newStore(t, now)
	var disk memoryDisk
	if _, err := disk.write(s,
		Sample{series(t, s, "n1", "power", Device{}), base * 1000, 1},
		Sample{series(t, s, "n1", "load", thread("0")), base * 1000, 1},
		Sample{series(t, s, "n2", "load", Device{}), base * 1000, 1},
	); err != nil {
		t.Fatal(err)
	}
	disk.checkpoint(t, s)

	s, err := New(Options{
		Metrics:   []Metric{{Name: "power", Frequency: time.Minute}, {Name: "new", Frequency: time.Minute}},
		Retention: time.Hour,
		Now:       now,
	})
	if err != nil {
		t.Fatal(err)
	}
	disk.restore(t, s)
	asked := []string{"load", "power", "new", "never", ""}
	for host, want := range map[string]Health{
		"n1": {Known: true, Missing: []string{"load", "new", "never", ""}},
		"n2": {Known: true, Missing: asked},
		"n3": {},
	} {
		if got := s.Health("alpha", host, asked); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", host, got, want)
		}
	}
}

func TestHealthOfMetricWithOtherFrequencyCountsTheConfiguredOne(t *testing.T) {
	now := int64(base)
	clock := func() time.Time { return time.Unix(now, 0) }
	s := newStore(t, clock)
	var disk memoryDisk
	if _, err := disk.write(s, Sample{series(t, s, "n1", "load", Device{}), base * 1000, 1}); err != nil {
		t.Fatal(err)
	}
	disk.checkpoint(t, s)
	s, err := New(Options{Metrics: []Metric{{Name: "load", Frequency: 10 * time.Second}}, Retention: time.Hour, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	disk.restore(t, s)
	if got := s.Health("alpha", "n1", []string{"load"}); !reflect.DeepEqual(got, Health{Known: true}) {
		t.Errorf("at the former frequency: got %+v, want a healthy metric", got)
	}
	now += 600
	if got := s.Health("alpha", "n1", []string{"load"}); !reflect.DeepEqual(got, Health{Known: true, Degraded: []string{"load"}}) {
		t.Errorf("without new samples: got %+v, want a degraded metric", got)
	}
	if _, err := s.Write([]Sample{{series(t, s, "n1", "load", Device{}), now * 1000, 1}}); err != nil {
		t.Fatal(err)
	}
	if got := s.Health("alpha", "n1", []string{"load"}); !reflect.DeepEqual(got, Health{Known: true}) {
		t.Errorf("got %+v, want a healthy metric", got)
	}
}

func TestHealthIsThatOfTheStalestDevice(t *testing.T) {
	now := int64(base)
	s := newStore(t, func() time.Time { return time.Unix(now, 0) })
	write := func(metric string, d Device, at int64) {
		t.Helper()
		if refused, err := s.Write([]Sample{{series(t, s, "n1", metric, d), at * 1000, 1}}); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
	}
	check := func(want ...string) {
		t.Helper()
		if got := s.Health("alpha", "n1", []string{"power", "ipc"}); !reflect.DeepEqual(got, Health{Known: true, Degraded: want}) {
			t.Errorf("%d s: got %+v, want degraded %q", now-base, got, want)
		}
	}
	for id := range 8 {
		write("power", thread(fmt.Sprint(id)), base+int64(id))
	}
	write("ipc", Device{}, base+40)
	check()
	series(t, s, "n1", "ipc", thread("9")) // has no sample yet
	check()
	now = base + 330 // the end of the newest slot is five frequencies ago
	check()
	now++
	check("power")
	now += 20
	for id := range 8 {
		check("power")
		write("power", thread(fmt.Sprint(id)), now+int64(id))
	}
	check()
	write("ipc", thread("3"), base-900) // late, of a device that has stopped
	check("ipc")
	s.Free([][]string{{"alpha"}, {"n1"}, {"hwthread3"}}, base)
	check()
	now += 3000
	write("power", thread("0"), now)
	check("power", "ipc")
	maintain(t, s)
	now += 1_000_000 // the other devices have left with the retention
	write("power", thread("0"), now)
	write("ipc", Device{}, now)
	maintain(t, s)
	check()
}

// BenchmarkHealth checks hosts with 519 series each, as many as one real cluster has. The time for
// 20,000 hosts is reported as well.
func BenchmarkHealth(b *testing.B) {
	const hosts, metrics, devices = 1000, 30, 17
	o := Options{Retention: time.Hour, Now: func() time.Time { return time.Unix(base, 0) }}
	var names []string
	for i := range metrics {
		names = append(names, fmt.Sprintf("metric%d", i))
		o.Metrics = append(o.Metrics, Metric{Name: names[i], Frequency: time.Minute})
	}
	s, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	var batch []Sample
	for h := range hosts {
		batch = batch[:0]
		for n := range 519 {
			d := thread(fmt.Sprint(n / metrics % (devices + 1)))
			sr := series(b, s, fmt.Sprint("n", h), names[n%metrics], d)
			batch = append(batch, Sample{sr, base * 1000, 1})
		}
		if _, err := s.Write(batch); err != nil {
			b.Fatal(err)
		}
	}
	h := 0
	for b.Loop() {
		if got := s.Health("alpha", fmt.Sprint("n", h%hosts), names); !got.Known || len(got.Degraded)+len(got.Missing) > 0 {
			b.Fatalf("%+v", got)
		}
		h++
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*20_000, "s/20000hosts")
}
