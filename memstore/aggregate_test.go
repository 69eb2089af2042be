package memstore

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// answer describes an answer to the bit.
func answer(s *Store, sel Selection, r Range) string {
	d, err := s.Read(context.Background(), sel, r)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	fmt.Fprint(&b, d.From, " ", d.To, " ", d.Resolution, " ", d.Series, " ", d.Read, ":")
	stats := d.Stats()
	for _, v := range append(slices.Clone(d.Values), stats.Avg, stats.Min, stats.Max) {
		if v != v {
			fmt.Fprint(&b, " -")
		} else {
			fmt.Fprintf(&b, " %x", math.Float64bits(v))
		}
	}
	return b.String()
}

// checkAnswers compares the answers to a selection with and without aggregates.
func checkAnswers(t *testing.T, s *Store, sel Selection, r Range, format string, args ...any) {
	t.Helper()
	for _, pad := range []Padding{PadNone, PadFront, PadBoth} {
		for _, r.StatsOnly = range []bool{false, true} {
			r.Pad = pad
			s.naive = true
			want := answer(s, sel, r)
			s.naive = false
			if got := answer(s, sel, r); got != want {
				t.Fatalf("%s: %+v of %+v:\n got %s\nwant %s", fmt.Sprintf(format, args...), sel, r, got, want)
			}
		}
	}
}

// aggregateRun writes like the collectors of a host whose devices come and go, and compares all
// answers.
type aggregateRun struct {
	*Store
	t       *testing.T
	r       *rand.Rand
	disk    memoryDisk
	minute  int64
	hours   int64
	present []bool // by device
	sums    [3]int // that answers were made of: of whole blocks, of parts, of open windows
}

var aggregateDevices = []Device{
	thread("0"), thread("1"), thread("10"), thread("2"), thread("3"),
	{Type: "socket", TypeID: "0"},
	{Type: "socket", TypeID: "1"},
	{"gpu", "0", "part", "a"},
	{"gpu", "0", "part", "b"},
	{"gpu", "1", "part", "a"},
	{Subtype: "net", SubtypeID: "eth0"},
	{Subtype: "net", SubtypeID: "eth1"},
}

func (a *aggregateRun) value() float64 {
	switch a.r.IntN(40) {
	case 0:
		if a.r.IntN(20) == 0 {
			return math.Inf(1 - 2*a.r.IntN(2))
		}
	case 2:
		return math.Copysign(0, -1)
	case 3:
		return -5e-324
	case 4, 5, 6:
		return float64(a.r.IntN(4))
	}
	return a.r.NormFloat64() * 1000
}

// step sends a sample of each present device.
func (a *aggregateRun) step() {
	a.minute++
	if a.r.IntN(int(60*a.hours)) == 0 {
		i := a.r.IntN(len(a.present))
		a.present[i] = !a.present[i]
	}
	var batch []Sample
	for i, d := range aggregateDevices {
		if !a.present[i] || a.r.IntN(int(2000*a.hours)) == 0 {
			continue
		}
		for _, m := range []string{"power", "ipc"} {
			if m == "ipc" && d.Type != "hwthread" {
				continue
			}
			at := (base+a.minute*60)*1000 + int64(i%2)*7000
			v := a.value()
			if m == "ipc" { // of most sets all values are finite
				v = a.r.NormFloat64()
			}
			batch = append(batch, Sample{series(a.t, a.Store, "n1", m, d), at, v})
		}
	}
	if len(batch) > 0 {
		if refused, err := a.disk.write(a.Store, batch...); err != nil || len(refused) > 0 {
			a.t.Fatal(refused, err)
		}
	}
}

// late sends one sample of the past.
func (a *aggregateRun) late() {
	d := aggregateDevices[a.r.IntN(len(aggregateDevices))]
	at := a.minute - int64(a.r.IntN(int(a.hours*60-10)))
	if _, err := a.disk.write(a.Store, Sample{series(a.t, a.Store, "n1", "power", d), (base + at*60) * 1000, a.value()}); err != nil {
		a.t.Fatal(err)
	}
}

func (a *aggregateRun) selection() Selection {
	sel := Selection{Cluster: "alpha", Host: "n1", Metric: []string{"power", "ipc"}[a.r.IntN(2)]}
	ids := func(all ...string) []string {
		if len(all) == 5 && a.r.IntN(4) == 0 {
			return []string{"3", "1", "2"} // often enough to be learned
		}
		a.r.Shuffle(len(all), func(i, k int) { all[i], all[k] = all[k], all[i] })
		if a.r.IntN(3) == 0 {
			all = all[:a.r.IntN(len(all)+1)]
		}
		if a.r.IntN(8) == 0 && len(all) > 0 {
			all = append(all, all[0])
		}
		return all
	}
	switch a.r.IntN(6) {
	case 0, 1:
		sel.Type, sel.TypeIDs = "hwthread", ids("0", "1", "2", "3", "10")
	case 2:
		sel.Type, sel.TypeIDs = "gpu", ids("0", "1")
		if a.r.IntN(2) == 0 {
			sel.Subtype, sel.SubtypeIDs = "part", ids("a", "b")
		}
	case 3:
		sel.Subtype, sel.SubtypeIDs = "net", ids("eth0", "eth1")
	}
	return sel
}

func (a *aggregateRun) timeRange() Range {
	n := int64(a.r.ExpFloat64() * 20 * float64(a.hours))
	from := base + (a.minute-n+int64(a.r.IntN(10)))*60
	r := Range{From: from, To: from + int64(a.r.IntN(int(n)+10))*60}
	if a.r.IntN(3) == 0 {
		r.From, r.To = base-86400, base+a.minute*60+600
	}
	if a.r.IntN(3) == 0 {
		r.Resolution, r.Resample = 120, Resample(a.r.IntN(4))
	}
	if a.r.IntN(3) == 0 {
		begin := (base + a.minute*60 - int64(a.r.IntN(int(a.hours)*3600))) * 1000
		end := begin + int64(a.r.IntN(int(a.hours)*3600*1000))
		if a.r.IntN(2) == 0 {
			end = math.MaxInt64 / 4
		}
		hidden := Device{}
		if a.r.IntN(4) == 0 {
			hidden = aggregateDevices[a.r.IntN(len(aggregateDevices))]
		}
		r.Visible = func(d Device) []Span {
			if d == hidden {
				return []Span{{begin, begin + 3600_000}}
			}
			return []Span{{begin, end}}
		}
	}
	return r
}

// read compares answers, and counts the sums that they were made of.
func (a *aggregateRun) read(seed uint64, step int) {
	sel, r := a.selection(), a.timeRange()
	checkAnswers(a.t, a.Store, sel, r, "seed %d step %d", seed, step)
	m, h := a.metrics[sel.Metric], a.host("alpha", "n1")
	if h == nil {
		return
	}
	rd := new(reader)
	rd.visible = r.Visible
	from, to := a.clamp(h, m, r)
	if _, err := rd.collect(a.Store, h, m, sel, from, to, true); err == nil {
		for _, p := range rd.sums {
			switch {
			case p.block == nil:
				a.sums[2]++
			case p.n < p.block.Slots:
				a.sums[1]++
			default:
				a.sums[0]++
			}
		}
	}
}

// Every answer and every statistic is the same with and without aggregates, bit for bit: with
// devices that come and go, missing and late samples, different phases, infinities, merges, frees,
// restarts, visibility and a precision.
func TestAggregatesChangeNothing(t *testing.T) {
	var sums [3]int
	for seed := range uint64(24) {
		a := &aggregateRun{t: t, r: rand.New(rand.NewPCG(seed, 20)), hours: []int64{2, 6, 24}[seed%3]}
		newStore := func() *Store {
			s := newStoreFor(t, func() time.Time { return time.Unix(base+a.minute*60, 0) }, time.Duration(a.hours)*time.Hour)
			if seed%4 == 3 {
				s.metrics["ipc"].Precision = 12
			}
			return s
		}
		a.Store = newStore()
		for range aggregateDevices {
			a.present = append(a.present, a.r.IntN(6) > 0)
		}
		for step := range 2500 {
			a.step()
			switch op := a.r.IntN(100); {
			case op < 4:
				maintain(t, a.Store)
			case op < 5:
				a.late()
			case op == 6 && a.r.IntN(10) == 0:
				a.disk.free(a.Store, [][]string{{"alpha"}, {"n1"}, {[]string{"hwthread1", "gpu0", "*"}[a.r.IntN(3)]}}, base+(a.minute-int64(a.r.IntN(100)))*60)
			case op == 7 && a.r.IntN(5) == 0:
				a.disk.checkpoint(t, a.Store)
			case op == 8 && a.r.IntN(10) == 0:
				a.Store = newStore()
				a.disk.restore(t, a.Store)
			case op == 9 && a.r.IntN(5) == 0:
				a.Seal(math.MaxInt64, true)
			case op < 40 && step > 100 && step%5 == 0:
				a.read(seed, step)
			}
		}
		checkAccount(t, a.Store, "seed %d", seed)
		for i, n := range a.sums {
			sums[i] += n
		}
	}
	if min(sums[0], sums[1], sums[2]) < 300 {
		t.Errorf("the answers were made of few sums: %v", sums)
	}
	t.Log(sums)
}
