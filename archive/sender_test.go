package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
)

// place is a slot of a series.
type place struct {
	key    memstore.Key
	second int64
}

// absent is the outcome of a free. No sample has this value.
const absent = -1

// event is a possible content of a place. Each sample has a value of its own, so that a value that
// was never sent is noticed.
type event struct {
	n       int     // number among all events
	outcome float64 // or absent
	acked   bool
	maybe   bool // a free that may not have deleted the sample
}

// sender writes to an archive on a failing disk and records what was acknowledged. It is for one
// goroutine, in a synctest bubble.
type sender struct {
	t        *testing.T
	fsys     *disktest.FS
	mode     journal.SyncMode
	metrics  []memstore.Metric
	limit    int64 // of memory
	needed   func(cluster, host string) int64
	kept     time.Duration // the retention
	parquet  bool          // samples that leave the retention go to /parquet
	log      slog.Handler
	store    *memstore.Store
	archive  *Archive
	restored Restored
	starting atomic.Bool

	places  map[place][]event
	n       int // number of events
	durable int // events before this one survive a loss of power

	// unsynced is set when an fsync has failed and the journal has no copy of the data, because the
	// mode is off or because it was the last fsync. Until the next checkpoint, samples that were
	// acknowledged since the last one may then be lost when the process ends.
	unsynced bool
}

func newSender(t *testing.T, seed uint64, mode journal.SyncMode) *sender {
	return &sender{
		t: t, fsys: disktest.New(seed), mode: mode, kept: retention, places: make(map[place][]event),
		metrics: []memstore.Metric{{Name: "load", Frequency: time.Minute}, {Name: "power", Frequency: 10 * time.Second}},
	}
}

const retention = time.Hour

// open opens the archive and restores into a new store.
func (s *sender) open() error {
	s.t.Helper()
	s.starting.Store(true)
	defer s.starting.Store(false)
	var err error
	s.store, err = memstore.New(memstore.Options{Metrics: s.metrics, Retention: s.kept, MemoryLimit: s.limit, Needed: s.needed, KeepUnstored: s.parquet})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.log == nil {
		s.log = slog.DiscardHandler
	}
	o := Options{Dir: "/var/lib", Store: s.store, Sync: s.mode, FS: s.fsys, Logger: slog.New(s.log)}
	if s.parquet {
		if o.Parquet, err = parquet.Open(s.fsys, "/parquet", parquet.Compatible); err != nil {
			s.t.Fatal(err)
		}
	}
	s.archive, err = Open(o)
	if err != nil {
		return err
	}
	a := s.archive
	s.t.Cleanup(func() { a.Close() }) // in case the test fails
	s.restored, err = a.Restore(context.Background())
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return nil
}

// sample is a sample to be sent.
type sample struct {
	key    memstore.Key
	second int64
}

// write sends samples as one batch, each with a new value.
func (s *sender) write(samples ...sample) error {
	s.t.Helper()
	batch := make([]memstore.Sample, len(samples))
	values := make([]float64, len(samples))
	for i, x := range samples {
		sr, err := s.store.Series(x.key)
		if err != nil {
			s.t.Fatal(err)
		}
		values[i] = float64(s.n+i) + 0.5
		batch[i] = memstore.Sample{Series: sr, Time: x.second * 1000, Value: values[i]}
	}
	refused, err := s.archive.Write(s.t.Context(), batch)
	if len(refused) > 0 {
		s.t.Fatalf("refused: %v of %v", refused[0].Reason, samples[refused[0].Index])
	}
	for i, x := range samples {
		p := place(x)
		s.places[p] = append(s.places[p], event{n: s.n + i, outcome: values[i], acked: err == nil})
	}
	s.n += len(samples)
	return s.done(err, s.mode == journal.Always)
}

// done records whether everything acknowledged is on disk after an operation, and returns err.
func (s *sender) done(err error, synced bool) error {
	if err == nil && synced {
		s.durable = s.n
	}
	return err
}

// free frees the samples of a path.
func (s *sender) free(to int64, path ...string) error {
	s.t.Helper()
	var elements [][]string
	for _, element := range path {
		elements = append(elements, []string{element})
	}
	before := s.contents()
	_, err := s.archive.Free(s.t.Context(), elements, to)
	after := s.contents()
	for p := range s.places {
		named := (path[0] == "*" || path[0] == p.key.Cluster) && (len(path) < 2 || path[1] == "*" || path[1] == p.key.Host)
		if !named || p.second > to {
			continue
		}
		_, had := before[p]
		_, has := after[p]
		s.places[p] = append(s.places[p], event{n: s.n, outcome: absent, acked: err == nil, maybe: had == has})
	}
	s.n++
	return s.done(err, s.mode == journal.Always)
}

func (s *sender) checkpoint() error {
	s.t.Helper()
	n := s.n
	err := s.archive.Checkpoint()
	if err == nil {
		s.durable, s.unsynced = n, false
	}
	return s.done(err, false)
}

func (s *sender) sync() error {
	n := s.n
	err := s.archive.SyncPoint()(s.t.Context())
	if err == nil && !s.unsynced {
		s.durable = n
	}
	return s.done(err, false)
}

// pause lets time pass. In interval mode the journal syncs meanwhile.
func (s *sender) pause(d time.Duration) {
	time.Sleep(d)
	if s.mode > 0 && s.archive.Unavailable() == nil {
		s.durable = s.n
	}
}

func (s *sender) close() error {
	n := s.n
	err := s.archive.Close()
	if err == nil {
		s.durable, s.unsynced = n, false
		return nil
	}
	s.unsynced = s.unsynced || s.mode != journal.Always
	s.forgetUnsynced()
	return err
}

// forgetUnsynced records that the process ended while data may not have been on disk.
func (s *sender) forgetUnsynced() {
	if !s.unsynced {
		return
	}
	for _, events := range s.places {
		for i := range events {
			events[i].acked = events[i].acked && events[i].n < s.durable
		}
	}
	s.unsynced = false
}

// end ends the process, with or without a loss of power.
func (s *sender) end(power bool) {
	s.fsys.StopAfter(0)
	if s.archive != nil {
		_ = s.archive.Close() // ends its goroutines
	}
	if power {
		s.fsys.LosePower()
		return
	}
	s.fsys.Kill()
	s.forgetUnsynced()
	s.durable = s.n
}

// contents returns what the store holds.
func (s *sender) contents() map[place]float64 {
	s.t.Helper()
	all := make(map[place]float64)
	asked := make(map[memstore.Key]bool)
	now := time.Now().Unix()
	for p := range s.places {
		if asked[p.key] {
			continue
		}
		asked[p.key] = true
		d := p.key.Device
		sel := memstore.Selection{Cluster: p.key.Cluster, Host: p.key.Host, Metric: p.key.Metric, Type: d.Type, Subtype: d.Subtype}
		if d.Type != "" {
			sel.TypeIDs = []string{d.TypeID}
		}
		if d.Subtype != "" {
			sel.SubtypeIDs = []string{d.SubtypeID}
		}
		got, err := s.store.Read(context.Background(), sel, memstore.Range{From: now - max(3*int64(retention/time.Second), int64(s.kept/time.Second)), To: now + 120, Pad: memstore.PadBoth})
		if errors.Is(err, memstore.ErrNotFound) || errors.Is(err, memstore.ErrUnknownMetric) {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		for i, v := range got.Values {
			if !math.IsNaN(v) {
				all[place{p.key, got.From + int64(i)*got.Resolution}] = v
			}
		}
	}
	return all
}

// allowed returns what a place may hold if all events before durable are.
func (s *sender) allowed(p place, durable int) []float64 {
	all := []float64{absent}
	for _, e := range s.places[p] {
		if e.acked && !e.maybe && e.n < durable {
			all = all[:0]
		}
		all = append(all, e.outcome)
	}
	if p.second < time.Now().Add(-retention).Unix() {
		all = append(all, absent)
	}
	return all
}

// check compares the store's contents with what was acknowledged.
func (s *sender) check(what string, durable int) {
	s.t.Helper()
	got := s.contents()
	for p, v := range got {
		if !slices.Contains(s.allowed(p, durable), v) {
			s.t.Fatalf("%s: %v holds %v, want one of %v; events %+v", what, p, v, s.allowed(p, durable), s.places[p])
		}
	}
	for p := range s.places {
		if _, found := got[p]; !found && !slices.Contains(s.allowed(p, durable), absent) {
			s.t.Fatalf("%s: %v is lost, want one of %v; %+v; events %+v of which the first %d are durable", what, p, s.allowed(p, durable), s.restored, s.places[p], durable)
		}
	}
}

// restart restores the archive after an end, twice, and checks the contents.
func (s *sender) restart(what string) {
	s.t.Helper()
	if err := s.open(); err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	if r := s.restored; r.Foreign+r.Missing > 0 {
		s.t.Fatalf("%s: files seem to be missing or foreign: %+v", what, r)
	}
	s.check(what, s.durable)
	ok(s.t, s.write(sample{memstore.Key{Cluster: "alpha", Host: "again", Metric: "load"}, time.Now().Unix() / 60 * 60}))
	want := s.contents()
	ok(s.t, s.close())
	if err := s.open(); err != nil {
		s.t.Fatalf("%s: a second time: %v", what, err)
	}
	got := s.contents()
	for p, v := range want {
		if got[p] != v && p.second >= time.Now().Add(-retention).Unix() {
			s.t.Fatalf("%s: %v is %v, and after another restart %v", what, p, v, got[p])
		}
	}
	for p := range got {
		if _, found := want[p]; !found {
			s.t.Fatalf("%s: %v reappears after another restart", what, p)
		}
	}
	s.end(false)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// series are those that the script writes, with the offset of their samples from the minute, in
// seconds.
var series = []struct {
	memstore.Key
	phase int64
}{
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"}, 3},
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: "1"}}, 7},
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "power"}, 3},
	{memstore.Key{Cluster: "alpha", Host: "n2", Metric: "power", Device: memstore.Device{Subtype: "network", SubtypeID: "eth0"}}, 0},
	{memstore.Key{Cluster: "beta", Host: "m1", Metric: "load"}, 31},
}

// span returns the samples of some series between two times, in minutes before now.
func (s *sender) span(from, to int, which ...int) (samples []sample) {
	minute := time.Now().Unix()/60 - 1
	for _, i := range which {
		step := int64(60)
		if series[i].Metric == "power" {
			step = 10
		}
		for at := (minute - int64(from)) * 60; at < (minute-int64(to))*60; at += step {
			samples = append(samples, sample{series[i].Key, at + series[i].phase})
		}
	}
	return samples
}

var modes = []struct {
	name string
	mode journal.SyncMode
}{{"always", journal.Always}, {"interval", journal.SyncMode(time.Second)}, {"off", journal.Off}}

var ends = []struct {
	name  string
	power bool
}{{"killed", false}, {"power lost", true}}

func describe(mode string, n int, seed uint64, end string) string {
	return fmt.Sprintf("%s, seed %d, %s after operation %d", mode, seed, end, n)
}
