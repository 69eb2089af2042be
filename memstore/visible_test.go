package memstore

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// twins are a store with all samples and a store with only the visible ones.
type twins struct {
	all, seen *Store
	visible   map[string]Visibility // by host
}

func newTwins(t *testing.T, r *rand.Rand) twins {
	const minutes = 3000
	clock := int64(base)
	o := Options{
		Metrics: []Metric{
			{Name: "load", Frequency: time.Minute},
			{Name: "power", Frequency: time.Minute, Aggregation: AggregateSum},
			{Name: "ipc", Frequency: time.Minute, Aggregation: AggregateAvg},
			{Name: "fast", Frequency: 20 * time.Second, Aggregation: AggregateSum},
		},
		Retention: 72 * time.Hour, Now: func() time.Time { return time.Unix(clock, 0) },
	}
	w := twins{visible: make(map[string]Visibility)}
	var errs [2]error
	w.all, errs[0] = New(o)
	w.seen, errs[1] = New(o)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	devices := []Device{{}, {Type: "hwthread", TypeID: "0"}, {Type: "hwthread", TypeID: "1"}, {Type: "hwthread", TypeID: "2"}, {Type: "accelerator", TypeID: "a"}, {Subtype: "network", SubtypeID: "eth0"}}
	chance := make(map[Key]float64)
	for h := range 3 {
		host := fmt.Sprintf("h%d", h)
		w.visible[host] = randomVisibility(r, minutes)
		for _, m := range []string{"load", "power", "ipc", "fast"} {
			for _, d := range devices {
				if r.IntN(3) > 0 {
					chance[Key{"alpha", host, m, d}] = []float64{1, 1, 0.9, 0.02}[r.IntN(4)]
				}
			}
		}
	}
	keys := slices.SortedFunc(func(yield func(Key) bool) {
		for k := range chance {
			if !yield(k) {
				return
			}
		}
	}, func(a, b Key) int { return compareText(fmt.Sprint(a), fmt.Sprint(b)) })
	for minute := range int64(minutes) {
		for _, k := range keys {
			step := int64(60)
			if k.Metric == "fast" {
				step = 20
			}
			for at := int64(0); at < 60; at += step {
				at := (base+60*minute+at)*1000 + 7500
				if r.Float64() >= chance[k] {
					continue
				}
				v := float64(r.IntN(1000))
				write(t, w.all, k, at, v)
				if slices.ContainsFunc(w.visible[k.Host](k.Device), func(s Span) bool { return s.From <= at && at < s.To }) {
					write(t, w.seen, k, at, v)
				}
			}
		}
		clock = base + 60*minute + 60
		if minute%97 == 0 {
			if err := errors.Join(w.all.Maintain(), w.seen.Maintain()); err != nil {
				t.Fatal(err)
			}
		}
	}
	return w
}

func compareText(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func write(t *testing.T, s *Store, k Key, at int64, v float64) {
	sr, err := s.Series(k)
	if err == nil {
		var refused []Refusal
		refused, err = s.Write([]Sample{{Series: sr, Time: at, Value: v}})
		if len(refused) > 0 {
			err = fmt.Errorf("refused: %v", refused)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func randomVisibility(r *rand.Rand, minutes int64) Visibility {
	random := func() (spans []Span) {
		at := base - 600 + r.Int64N(1000)
		for range r.IntN(5) {
			to := at + r.Int64N(60*minutes/2)
			if r.IntN(3) == 0 {
				to = at + r.Int64N(400)
			}
			spans = append(spans, Span{at * 1000, to*1000 + r.Int64N(1000)})
			at = to + 1 + r.Int64N(10_000)
		}
		return spans
	}
	byDevice := make(map[Device][]Span)
	whole, mode := random(), r.IntN(3)
	return func(d Device) []Span {
		if mode > 0 {
			return whole
		}
		d.Subtype, d.SubtypeID = "", ""
		if _, ok := byDevice[d]; !ok {
			byDevice[d] = random()
		}
		return byDevice[d]
	}
}

// Both stores give the same answers: values, errors and statistics.
func TestVisibility(t *testing.T) {
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 7))
		w := newTwins(t, r)
		for host, visible := range w.visible {
			got, err := w.all.Holds("alpha", host, visible)
			if want := slices.Contains(w.seen.Hosts("alpha"), host); got != want || err != nil {
				t.Errorf("%s: Holds returns %v, want %v; %v", host, got, want, err)
			}
		}
		answers := 0
		for range 3000 {
			sel := Selection{Cluster: "alpha", Host: fmt.Sprintf("h%d", r.IntN(4)), Metric: []string{"load", "power", "ipc", "fast", "none"}[r.IntN(5)]}
			switch r.IntN(5) {
			case 0:
				sel.Type, sel.TypeIDs = "hwthread", []string{"0"}
			case 1:
				sel.Type, sel.TypeIDs = "hwthread", []string{"0", "2", "1"}
			case 2:
				sel.Type, sel.TypeIDs = "accelerator", []string{"a"}
			case 3:
				sel.Type, sel.Subtype, sel.SubtypeIDs = "node", "network", []string{"eth0"}
			}
			from := base - 1000 + r.Int64N(180_000)
			rg := Range{From: from, To: from + r.Int64N(150_000), Pad: Padding(r.IntN(3)), StatsOnly: r.IntN(4) == 0, Resample: Resample(r.IntN(4))}
			if r.IntN(3) == 0 {
				rg.From = base + 60*r.Int64N(3000)
				rg.To = rg.From + r.Int64N(2000)
			}
			rg.Resolution = []int64{0, 0, 60, 120, 600, 61}[r.IntN(6)]
			want, wantErr := w.seen.Read(t.Context(), sel, rg)
			rg.Visible = w.visible[sel.Host]
			got, err := w.all.Read(t.Context(), sel, rg)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("seed %d: %+v %+v: error %v, want %v", seed, sel, rg, err, wantErr)
			}
			if err == nil {
				answers++
			}
			a, b := got.Stats(), want.Stats()
			near := func(x, y float64) bool {
				return x == y || x != x && y != y || math.Abs(x-y) < 1e-9*max(1, math.Abs(x))
			}
			if got.From != want.From || got.To != want.To || got.Resolution != want.Resolution || !near(a.Avg, b.Avg) || !near(a.Min, b.Min) || !near(a.Max, b.Max) ||
				!slices.EqualFunc(got.Values, want.Values, func(x, y float64) bool { return x == y || x != x && y != y }) {
				t.Fatalf("seed %d: %+v %+v:\n%+v %+v, want\n%+v %+v", seed, sel, rg, got, a, want, b)
			}
		}
		if answers < 200 {
			t.Errorf("seed %d: %d answers only", seed, answers)
		}
	}
}

// A restarted collector sends at other seconds of the minute. The earlier samples must not become
// visible for a time at which they were not taken.
func TestMovedPhaseKeepsEarlierSamplesHidden(t *testing.T) {
	clock := int64(base)
	s, err := New(Options{
		Metrics:   []Metric{{Name: "load", Frequency: time.Minute}},
		Retention: 72 * time.Hour, Now: func() time.Time { return time.Unix(clock, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	key := Key{"alpha", "h", "load", Device{}}
	put := func(sec int64, v float64) {
		clock = base + sec
		write(t, s, key, (base+sec)*1000, v)
	}
	sees := func(from, to int64) (ones, twos int) {
		t.Helper()
		visible := func(Device) []Span { return []Span{{(base + from) * 1000, (base + to) * 1000}} }
		d, err := s.Read(t.Context(), Selection{Cluster: "alpha", Host: "h", Metric: "load"}, Range{From: base, To: base + 1800, Visible: visible})
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range d.Values {
			switch v {
			case 1:
				ones++
			case 2:
				twos++
			}
		}
		return ones, twos
	}
	put(25, 1) // sets the lane's grid
	for m := range int64(20) {
		put(60*m+25, float64(1+m/10)) // another job starts at 600 s
	}
	if ones, twos := sees(0, 610); ones != 10 || twos != 0 {
		t.Errorf("before: %d of its own, %d of the other's", ones, twos)
	}
	for m := int64(21); m < 30; m++ {
		put(60*m, 2)
	}
	f := func(from, to int64, ones, twos [2]int) {
		t.Helper()
		gotOnes, gotTwos := sees(from, to)
		if gotOnes < ones[0] || gotOnes > ones[1] || gotTwos < twos[0] || gotTwos > twos[1] {
			t.Errorf("after, from %d to %d: %d of the first job, %d of the second", from, to, gotOnes, gotTwos)
		}
	}
	f(0, 610, [2]int{9, 10}, [2]int{0, 0})
	f(610, 1800, [2]int{0, 0}, [2]int{17, 20})
	f(1260, 1800, [2]int{0, 0}, [2]int{7, 9})
}
