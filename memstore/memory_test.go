package memstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// small is a store of a few hosts with a memory limit.
type small struct {
	*Store
	t      testing.TB
	now    int64 // seconds
	needed map[string]int64
	random *rand.Rand
}

func newSmall(t testing.TB, limit int64) *small {
	t.Helper()
	m := &small{t: t, now: base, needed: map[string]int64{}, random: rand.New(rand.NewPCG(1, 5))}
	var err error
	m.Store, err = New(Options{
		Metrics:     []Metric{{Name: "load", Frequency: time.Minute, Aggregation: AggregateSum}},
		Retention:   48 * time.Hour,
		MemoryLimit: limit,
		Now:         func() time.Time { return time.Unix(m.now, 0) },
		Needed: func(_, host string) int64 {
			if since, ok := m.needed[host]; ok {
				return since
			}
			return NotNeeded
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// step writes an incompressible sample for each of some threads of a host.
func (m *small) step(host string, threads int) error {
	var batch []Sample
	for i := range threads {
		sr, err := m.Series(Key{"alpha", host, "load", thread(fmt.Sprint(i))})
		if err != nil {
			return err
		}
		batch = append(batch, Sample{sr, m.now * 1000, m.random.NormFloat64()})
	}
	refused, err := m.Write(batch)
	if len(refused) > 0 {
		m.t.Fatal(refused)
	}
	return err
}

// run writes some minutes of a few hosts.
func (m *small) run(minutes int, hosts ...string) {
	m.t.Helper()
	for i := range minutes {
		for _, h := range hosts {
			if err := m.step(h, 10); err != nil {
				m.t.Fatalf("minute %d: %v", i, err)
			}
			if n := m.memory.used.Load(); m.memory.limit > 0 && n > m.memory.limit {
				m.t.Fatalf("minute %d: %d bytes, the limit is %d", i, n, m.memory.limit)
			}
		}
		if m.now += 60; i%10 == 0 {
			maintain(m.t, m.Store)
		}
	}
	maintain(m.t, m.Store)
	checkAccount(m.t, m.Store, "at the end")
}

// oldest returns the start of the oldest window of a host, in Unix seconds.
func (m *small) oldest(host string) int64 {
	l := m.host("alpha", host).lanes[0]
	return l.time(l.oldest()) / 1000
}

func (m *small) read(host string, from, to int64) []float64 {
	m.t.Helper()
	return read(m.t, m.Store, Selection{Cluster: "alpha", Host: host, Metric: "load", Type: "hwthread", TypeIDs: []string{"0"}},
		Range{From: from, To: to, Pad: PadBoth}).Values
}

const merged = 2 * 240 * 60 // seconds of a merged window of the tests' lane

// Endless writes stay within the limit: the oldest windows of all hosts are evicted, the heads
// stay, and no write fails.
func TestMemoryIsBounded(t *testing.T) {
	m := newSmall(t, 450_000)
	hosts := []string{"n1", "n2", "n3", "n4"}
	m.run(4000, hosts...)
	if m.Evicted() == 0 || m.Size().Evicted != m.Evicted() {
		t.Fatalf("%d windows evicted: %+v", m.Evicted(), m.Size())
	}
	first, last := m.now, int64(0)
	for _, h := range hosts {
		first, last = min(first, m.oldest(h)), max(last, m.oldest(h))
		if got := m.read(h, m.now-240*60, m.now); count(got) != len(got) {
			t.Errorf("%s: %d of the newest %d values", h, count(got), len(got))
		}
	}
	if last-first > merged {
		t.Errorf("the oldest windows of the hosts start %d s apart", last-first)
	}
	if m.now-last < 12*3600 {
		t.Errorf("only %d s are left", m.now-last)
	}
}

// Windows that jobs need are evicted last, but they are evicted.
func TestNeededWindowsAreEvictedLast(t *testing.T) {
	m := newSmall(t, 450_000)
	m.needed["n1"] = 0
	m.run(2400, "n1", "n2", "n3")
	for _, h := range []string{"n2", "n3"} {
		if m.oldest(h) <= m.oldest("n1")+merged {
			t.Errorf("%s has windows since %d, n1 since %d", h, m.oldest(h), m.oldest("n1"))
		}
	}
	if got := m.read("n1", base, base+600); count(got) != 10 {
		t.Errorf("a window that the job needs was evicted: %v", got)
	}
	m.run(4000, "n1")
	if m.oldest("n1") == base {
		t.Error("the limit was kept without a window of n1")
	}
}

// Only windows that a job needs are evicted last, not the older windows of its hosts.
func TestWindowsBeforeTheJobAreNotNeeded(t *testing.T) {
	m := newSmall(t, 450_000)
	m.needed["n1"] = (base + 1800*60) * 1000
	m.run(2400, "n1", "n2", "n3")
	if begin := m.oldest("n1"); begin < base+60*60 || begin > base+1800*60 {
		t.Errorf("n1 has windows since minute %d", (begin-base)/60)
	}
	if got := m.read("n1", base+1800*60, base+2400*60); count(got) != 600 {
		t.Errorf("%d of 600 values since the job began", count(got))
	}
}

// A user whose job began within the retention, or ended before the job that needs older windows
// began, does not see from an answer's beginning that such a job runs on the same host.
func TestPaddingHidesJobsOfOthers(t *testing.T) {
	m := newSmall(t, 0)
	m.run(50*60, "n1")
	ask := func(needed int64, visible Visibility) Data {
		t.Helper()
		m.needed["n1"] = needed
		if err := m.Maintain(); err != nil {
			t.Fatal(err)
		}
		return read(t, m.Store, Selection{Cluster: "alpha", Host: "n1", Metric: "load", Type: "hwthread", TypeIDs: []string{"0"}},
			Range{From: base, To: m.now, Pad: PadFront, Visible: visible})
	}
	own := func(d Device, from, to int64) Visibility {
		return func(of Device) []Span {
			if of != d {
				return nil
			}
			return []Span{{(base + from) * 1000, (base + to) * 1000}}
		}
	}
	m.needed["n1"] = base * 1000
	m.run(60, "n1") // the oldest windows are beyond the retention
	for name, visible := range map[string]Visibility{
		"began within the retention":   own(thread("0"), 40*3600, 60*3600),
		"ended before the other began": own(thread("0"), 0, 600),
	} {
		with := ask((base+1200)*1000, visible)
		if without := ask(NotNeeded, visible); with.From != without.From {
			t.Errorf("%s: from %d beside another job, else %d", name, with.From-base, without.From-base)
		}
		m = newSmall(t, 0)
		m.needed["n1"] = base * 1000
		m.run(51*60, "n1")
	}
	if got := ask((base+1200)*1000, own(thread("0"), 1200, 60*3600)); got.From > base+1200 {
		t.Errorf("the own job's answer begins at %d", got.From-base)
	}
}

// Windows that a job needs stay beyond the retention, can be read, count for the limits of queries,
// survive a restart, and are dropped when the job ends.
func TestNeededWindowsStayPastTheRetention(t *testing.T) {
	m := newSmall(t, 0)
	m.needed["n1"] = 0
	const days = 5 * 1440
	m.run(days, "n1", "n2")
	all := Range{From: 0, To: 1 << 40, Pad: PadBoth}
	selection := func(host string) Selection {
		return Selection{Cluster: "alpha", Host: host, Metric: "load"}
	}
	check := func(s *Store, host string, lowest, highest int) {
		t.Helper()
		d := read(t, s, selection(host), all)
		if n := count(d.Values); n < lowest || n > highest {
			t.Errorf("%s: %d values, want %d to %d", host, n, lowest, highest)
		}
		if n := s.Cost(selection(host), all); n < 10*len(d.Values) || n > 10*(len(d.Values)+2) { // of ten threads
			t.Errorf("%s: %d points for %d values", host, n, len(d.Values))
		}
	}
	check(m.Store, "n1", days, days)
	check(m.Store, "n2", 2880, 2881)
	check(m.Store, "n1", days, days)
	if n := m.Cost(selection("nobody"), all); n != 0 {
		t.Errorf("%d points of an unknown host", n)
	}

	after := newSmall(t, 0)
	after.now, after.needed = m.now, m.needed
	var d memoryDisk
	d.checkpoint(t, m.Store)
	d.restore(t, after.Store)
	check(after.Store, "n1", days, days)
	check(after.Store, "n2", 2880, 2881)
	checkAccount(t, after.Store, "at the end")

	delete(m.needed, "n1")
	maintain(t, m.Store)
	check(m.Store, "n1", 2880, 2881)
	if begin := m.oldest("n1"); begin < m.now-48*3600-merged {
		t.Errorf("windows since %d s ago are kept", m.now-begin)
	}
	if refused, err := m.Write([]Sample{{series(t, m.Store, "n1", "load", thread("0")), base * 1000, 1}}); err != nil || len(refused) != 1 {
		t.Errorf("a sample older than the retention: %v, %v", refused, err)
	}
}

// If the heads alone exceed the limit, writes fail and reads do not. Writes succeed again when
// memory is free.
func TestFullOfHeads(t *testing.T) {
	m := newSmall(t, 1_000_000)
	var err error
	hosts := 0
	for ; err == nil && hosts < 10_000; hosts++ {
		err = m.step(fmt.Sprint("n", hosts), 50)
	}
	if !errors.Is(err, ErrMemory) {
		t.Fatalf("after %d hosts: %v", hosts, err)
	}
	if n := m.Size(); n.Bytes > n.Limit+100_000 || n.Evicted != 0 {
		t.Errorf("%+v", n)
	}
	if err := m.step("n0", 50); !errors.Is(err, ErrMemory) {
		t.Errorf("a known host: %v", err)
	}
	if _, err := m.Series(Key{"alpha", "new", "load", Device{}}); !errors.Is(err, ErrMemory) {
		t.Errorf("a new host: %v", err)
	}
	if _, err := m.Series(Key{"alpha", "n0", "load", Device{}}); !errors.Is(err, ErrMemory) {
		t.Errorf("a new series: %v", err)
	}
	maintain(t, m.Store)
	if got := m.read("n0", m.now, m.now+60); count(got) != 1 {
		t.Errorf("n0 has %v", got)
	}
	if d, err := m.Read(context.Background(), Selection{Cluster: "alpha", Host: "n1", Metric: "load"}, Range{From: m.now, To: m.now + 60}); err != nil || count(d.Values) != 1 {
		t.Errorf("the sum over n1: %v, %v", d.Values, err)
	}
	m.Free([][]string{{"alpha"}, {"n0", "n1", "n2"}}, m.now)
	checkAccount(t, m.Store, "at the end")
	if err := m.step("n0", 50); err != nil {
		t.Errorf("after memory was freed: %v", err)
	}
}

// A single batch cannot exceed the limit by much, not even with the rows of a host with many
// series.
func TestOneBatchIsBounded(t *testing.T) {
	m := newSmall(t, 10_000_000)
	if err := m.step("wide", 10_000); err != nil {
		t.Fatal(err)
	}
	sr := series(t, m.Store, "wide", "load", thread("0"))
	var batch []Sample
	for minute := range int64(2000) { // a row of 80 kB each
		batch = append(batch, Sample{sr, (m.now - minute*60) * 1000, 1})
	}
	if _, err := m.Write(batch); err != nil && !errors.Is(err, ErrMemory) {
		t.Error(err)
	}
	if n := m.Size(); n.Bytes > n.Limit+100_000 {
		t.Errorf("%d bytes, the limit is %d", n.Bytes, n.Limit)
	}
	checkAccount(t, m.Store, "at the end")
}

// The accounting of an empty store is 0.
func TestAccountingOfAnEmptyStore(t *testing.T) {
	m := newSmall(t, 0)
	m.run(1000, "n1", "n2")
	for _, d := range []Device{{}, {Subtype: "network", SubtypeID: "eth0"}, {"hwthread", "1", "part", "a"}} {
		put(t, m.Store, series(t, m.Store, "n1", "load", d), float64(m.now), 1, 2)
	}
	checkAccount(t, m.Store, "at the end")
	m.now += 72 * 3600
	maintain(t, m.Store)
	if n := m.Size(); n != (Size{}) {
		t.Errorf("left: %+v", n)
	}
}
