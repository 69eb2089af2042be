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
	"github.com/ringstore/ringstore/memstore"
)

// place is a slot of a series.
type place struct {
	key    memstore.Key
	second int64
}

// absent is the outcome of a free; no sample has this value.
const absent = -1

// event is what may have become of a place: each sample has a value of its own,
// so that one which was never sent would be seen.
type event struct {
	n       int     // of all events
	outcome float64 // or absent
	acked   bool
	maybe   bool // a free that is not sure to have hit it
}

// sender writes to an archive on a disk that fails, and keeps books on what it
// was promised. It is for one goroutine, in a bubble of synctest.
type sender struct {
	t        *testing.T
	fsys     *disktest.FS
	mode     journal.SyncMode
	metrics  []memstore.Metric
	limit    int64 // of memory
	needed   func(cluster, host string) int64
	log      slog.Handler
	store    *memstore.Store
	archive  *Archive
	restored Restored
	starting atomic.Bool

	places  map[place][]event
	n       int // events
	durable int // up to here they survive a loss of power

	// unsynced: an fsync failed and the journal has no copy of what it was to
	// sync, as the mode is off, or the last fsync did. Until a checkpoint, what was
	// acknowledged since the last one may be lost when the process ends.
	unsynced bool
}

func newSender(t *testing.T, seed uint64, mode journal.SyncMode) *sender {
	return &sender{
		t: t, fsys: disktest.New(seed), mode: mode, places: make(map[place][]event),
		metrics: []memstore.Metric{{Name: "load", Frequency: time.Minute}, {Name: "power", Frequency: 10 * time.Second}},
	}
}

const keptFor = time.Hour

// open opens the archive and restores into a new store.
func (s *sender) open() error {
	s.t.Helper()
	s.starting.Store(true)
	defer s.starting.Store(false)
	var err error
	s.store, err = memstore.New(memstore.Options{Metrics: s.metrics, Retention: keptFor, MemoryLimit: s.limit, Needed: s.needed})
	if err != nil {
		s.t.Fatal(err)
	}
	if s.log == nil {
		s.log = slog.DiscardHandler
	}
	s.archive, err = Open(Options{Dir: "/var/lib", Store: s.store, Sync: s.mode, FS: s.fsys, Logger: slog.New(s.log)})
	if err != nil {
		return err
	}
	a := s.archive
	s.t.Cleanup(func() { a.Close() }) // of a test that fails
	s.restored, err = a.Restore(context.Background())
	if err != nil {
		return errors.Join(err, a.Close())
	}
	return nil
}

// sample is one that is to be sent.
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

// done notes how an operation ended, and if all acknowledged is on disk then.
func (s *sender) done(err error, synced bool) error {
	if err == nil && synced {
		s.durable = s.n
	}
	return err
}

// free forgets what a path names.
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

// pause lets time pass, in which the journal syncs if that is its mode.
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
	s.forget()
	return err
}

// forget notes that the process ended with what may not be on disk.
func (s *sender) forget() {
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

// end ends the process, or the power too.
func (s *sender) end(power bool) {
	s.fsys.StopAfter(0)
	if s.archive != nil {
		_ = s.archive.Close() // for its goroutines
	}
	if power {
		s.fsys.LosePower()
		return
	}
	s.fsys.Kill()
	s.forget()
	s.durable = s.n
}

// contents is what the store answers.
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
		got, err := s.store.Read(context.Background(), sel, memstore.Range{From: now - 3*int64(keptFor/time.Second), To: now + 120, Pad: true})
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

// may returns what a place may hold, given up to which event all is there.
func (s *sender) may(p place, sure int) []float64 {
	all := []float64{absent}
	for _, e := range s.places[p] {
		if e.acked && !e.maybe && e.n < sure {
			all = all[:0]
		}
		all = append(all, e.outcome)
	}
	if p.second < time.Now().Add(-keptFor).Unix() {
		all = append(all, absent)
	}
	return all
}

// check compares what is stored with the books.
func (s *sender) check(what string, sure int) {
	s.t.Helper()
	got := s.contents()
	for p, v := range got {
		if !slices.Contains(s.may(p, sure), v) {
			s.t.Fatalf("%s: %v holds %v, may %v; events %+v", what, p, v, s.may(p, sure), s.places[p])
		}
	}
	for p := range s.places {
		if _, there := got[p]; !there && !slices.Contains(s.may(p, sure), absent) {
			s.t.Fatalf("%s: %v is lost, must be %v; %+v; events %+v of which %d are sure", what, p, s.may(p, sure), s.restored, s.places[p], sure)
		}
	}
}

// restart restores what an end has left, twice, and checks it.
func (s *sender) restart(what string) {
	s.t.Helper()
	if err := s.open(); err != nil {
		s.t.Fatalf("%s: %v", what, err)
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
		if got[p] != v && p.second >= time.Now().Add(-keptFor).Unix() {
			s.t.Fatalf("%s: %v is %v, and after another restart %v", what, p, v, got[p])
		}
	}
	for p := range got {
		if _, there := want[p]; !there {
			s.t.Fatalf("%s: %v comes back in another restart", what, p)
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

// series are those that the script writes, with how many seconds behind the
// minute their samples lie.
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

// span makes the samples of some series from so many minutes ago to so many.
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
