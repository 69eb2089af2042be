package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"regexp"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/guard"
)

const (
	dataDir    = "/data"
	parquetDir = "/parquet"
)

// series are all that the senders write, with the offset of their samples from the slots, in
// seconds. It is less than every frequency.
var series = []struct {
	memstore.Key
	metric int // in metrics
	phase  int64
}{
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "load"}, 0, 3},
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "temp", Device: memstore.Device{Type: "hwthread", TypeID: "0"}}, 2, 7},
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "power", Device: memstore.Device{Type: "socket", TypeID: "0"}}, 1, 3},
	{memstore.Key{Cluster: "alpha", Host: "n1", Metric: "power", Device: memstore.Device{Type: "socket", TypeID: "1"}}, 1, 3},
	{memstore.Key{Cluster: "alpha", Host: "n2", Metric: "power", Device: memstore.Device{Subtype: "network", SubtypeID: "eth0"}}, 1, 0},
	{memstore.Key{Cluster: "alpha", Host: "n2", Metric: "temp"}, 2, 9},
	{memstore.Key{Cluster: "beta", Host: "m1", Metric: "load"}, 0, 1},
	{memstore.Key{Cluster: "beta", Host: "m1", Metric: "temp", Device: memstore.Device{Type: "accelerator", TypeID: "00000000:49:00.0"}}, 2, 5},
}

var metrics = [...]string{"load", "power", "temp"}

// settings are those of a configuration file. A restart may change them.
type settings struct {
	sync        journal.SyncMode
	frequencies [len(metrics)]int64 // seconds; 0: the metric is not configured
	retention   time.Duration
	memory      int64 // limit in bytes; 0: none
	parquet     bool  // days that leave the retention are archived
}

// server is a server that may be down, its disk and its clock, and the model of what it holds. One
// goroutine uses it, in a synctest bubble.
type server struct {
	settings
	fsys  *disktest.FS
	dir   string
	log   slog.Handler
	model *model

	archive  *archive.Archive // nil: the server is down
	store    *memstore.Store
	ingester *ingest.Ingester
	restored archive.Restored

	digest    io.Writer
	sum       hash.Hash64                             // of the digest
	fault     atomic.Pointer[func(disktest.Op) error] // nil: none; goroutines of the archive call it
	stopAt    int                                     // the last operation before the process ends; 0: never
	losePower bool                                    // when it ends

	// unsynced is set when an fsync has failed and the journal has no copy of the data. Until the next
	// checkpoint, samples that were acknowledged since the last one may then be lost when the process
	// ends.
	unsynced atomic.Bool
	ailing   atomic.Bool // an operation has failed, and the journal may not have recovered yet
	changed  bool        // files were damaged; some of them stay
	// torn counts the checkpoints until the segments that a loss of power may have damaged are gone.
	torn atomic.Int64
	// unjournaled counts the checkpoints until what the store holds although the journal could not
	// append it is in both windows files.
	unjournaled int
	snapshots   []snapshot
	rewound     bool // to a snapshot
	last        view // at the end, of a server with Parquet files

	ahead          time.Duration // of the wall clock
	jumped         time.Time     // when it was set
	trusted, asked time.Time     // see trust

	steps    int
	restarts int
	acked    int
}

func newServer(seed uint64) *server {
	s := &server{
		fsys: disktest.New(seed), dir: dataDir, log: slog.DiscardHandler, model: newModel(), sum: fnv.New64a(),
	}
	s.digest = &unsalted{w: s.sum}
	s.watch()
	return s
}

// salt is the random part of a segment's name. It differs between runs of a seed.
var salt = regexp.MustCompile(`-[0-9a-f]{8}\.rsj`)

// unsalted leaves out salts.
type unsalted struct {
	mu sync.Mutex // goroutines of the archive write too
	w  io.Writer
}

func (u *unsalted) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, err := u.w.Write(salt.ReplaceAll(p, []byte(".rsj")))
	return len(p), err
}

// watch adds all operations to the digest and injects the current fault. The file system forgets it
// at the end of a process.
func (s *server) watch() {
	s.fsys.Inject(func(op disktest.Op) error {
		var err error
		if fault := s.fault.Load(); fault != nil {
			err = (*fault)(op)
		}
		fmt.Fprintln(s.digest, op.Kind, op.Path, err)
		return err
	})
}

// now is the wall clock, which jumps.
func (s *server) now() time.Time { return time.Now().Add(s.ahead) }

// jump sets the wall clock.
func (s *server) jump(ahead time.Duration) {
	s.trust()
	s.ahead, s.jumped = ahead, time.Now()
	fmt.Fprintln(s.digest, "the clock is ahead by", ahead)
}

// trust returns the latest time that samples may be deleted by. A wall clock that has jumped ahead is
// trusted only after an hour. One that returns to where it was before it was set back is not ahead of
// the time that has passed: a server that was restarted meanwhile trusts it at once.
func (s *server) trust() time.Time {
	now, wall := time.Now(), s.now()
	s.trusted, s.asked = s.trusted.Add(now.Sub(s.asked)), now
	if now.Sub(s.jumped) >= time.Hour && wall.After(s.trusted) {
		s.trusted = wall
	}
	if wall.Before(s.trusted) {
		return wall
	}
	return s.trusted
}

// start opens the archive and restores into a new store.
func (s *server) start() error {
	var list []memstore.Metric
	for i, name := range metrics {
		if f := s.frequencies[i]; f > 0 {
			list = append(list, memstore.Metric{Name: name, Frequency: time.Duration(f) * time.Second})
		}
	}
	began := time.Now()
	store, err := memstore.New(memstore.Options{
		Metrics: list, Retention: s.retention, MemoryLimit: s.memory, KeepUnstored: s.parquet, Now: s.now,
		Guard: guard.New(func() (time.Time, time.Duration) { return s.now(), time.Since(began) }),
	})
	if err != nil {
		return err
	}
	o := archive.Options{Dir: s.dir, Store: store, Sync: s.sync, FS: s.fsys, Now: s.now, Logger: slog.New(s.log)}
	if s.parquet {
		if o.Parquet, err = parquet.Open(s.fsys, parquetDir, parquet.Compatible); err != nil {
			return err
		}
	}
	a, err := archive.Open(o)
	if err != nil {
		return err
	}
	s.restarts++
	s.restored, err = a.Restore(context.Background())
	if err != nil {
		return errors.Join(err, a.Close())
	}
	s.archive, s.store = a, store
	s.ingester = ingest.New(ingest.Options{Store: store, Writer: a, Now: s.now})
	s.advanceHorizon()
	return nil
}

// stop closes the archive, as an administrator stops a server.
func (s *server) stop() error {
	n := s.model.n
	err := s.archive.Close()
	s.archive = nil
	synctest.Wait()
	s.fault.Store(nil)
	if err == nil {
		s.stored(n)
		return nil
	}
	s.unsynced.Store(s.unsynced.Load() || s.sync != journal.Always)
	return err
}

// stored notes that a checkpoint has stored the first n events.
func (s *server) stored(n int) {
	s.model.durable, s.model.firm = n, n
	s.unsynced.Store(false)
	s.torn.Store(max(s.torn.Load()-1, 0))
	s.unjournaled = max(s.unjournaled-1, 0)
}

// end ends the process, with or without a loss of power.
func (s *server) end(power bool) {
	s.fsys.StopAfter(0)
	if s.archive != nil {
		// A journal that has not recovered yet may have data that an fsync has lost.
		s.unsynced.Store(s.unsynced.Load() || s.ailing.Load() && s.sync != journal.Always && s.archive.Unavailable() != nil)
		_ = s.archive.Close() // ends its goroutines
		s.archive = nil
	}
	synctest.Wait()
	if power {
		s.fsys.LosePower()
		s.torn.Store(2)
	} else {
		s.fsys.Kill()
	}
	s.stopAt = 0
	s.fault.Store(nil)
	s.watch()
	if s.unsynced.Load() {
		s.model.forget()
		s.unsynced.Store(false)
		s.torn.Store(2)
	}
}

// ended reports whether the process has reached the operation at which it ends.
func (s *server) ended() bool { return s.stopAt > 0 && s.fsys.Operations() >= s.stopAt }

// pass lets time pass. In interval mode the journal syncs meanwhile.
func (s *server) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
	s.advanceHorizon()
	if s.archive != nil && s.sync > 0 && d >= time.Duration(s.sync) && s.archive.Unavailable() == nil && !s.ended() {
		s.model.durable = s.model.n
	}
}

// advanceHorizon notes what has left the retention.
func (s *server) advanceHorizon() {
	if trusted := s.trust(); s.archive != nil {
		s.model.horizon = max(s.model.horizon, trusted.Add(-s.retention).Unix())
	}
}

// view reads everything from the store.
func (s *server) view() (view, error) {
	now := s.now().Unix()
	v := view{
		frequency: func(i int) int64 { return s.frequencies[series[i].metric] },
		newest:    now,
		phases:    make(map[int]int64),
		values:    make(map[place]float64),
		stale:     s.restored.Unreadable > 0,
		partial:   s.store.Evicted() > 0 || s.restored.Skipped > 0 || s.restored.Unreadable > 0,
	}
	for i, x := range series {
		d := x.Device
		sel := memstore.Selection{Cluster: x.Cluster, Host: x.Host, Metric: x.Metric, Type: d.Type, Subtype: d.Subtype}
		if d.Type != "" {
			sel.TypeIDs = []string{d.TypeID}
		}
		if d.Subtype != "" {
			sel.SubtypeIDs = []string{d.SubtypeID}
		}
		got, err := s.store.Read(context.Background(), sel, memstore.Range{From: 0, To: now + 120, Pad: memstore.PadNone})
		if errors.Is(err, memstore.ErrNotFound) || errors.Is(err, memstore.ErrUnknownMetric) {
			continue
		}
		if err != nil {
			return v, fmt.Errorf("reading %v: %w", x.Key, err)
		}
		v.phases[i] = got.From % got.Resolution
		for k, value := range got.Values {
			if !math.IsNaN(value) {
				second := got.From + int64(k)*got.Resolution
				v.values[place{i, got.Resolution, second}] = value
				s.note(uint64(i), uint64(second), math.Float64bits(value))
			}
		}
	}
	return v, nil
}

// note adds numbers to the digest.
func (s *server) note(numbers ...uint64) {
	var b [24]byte
	for _, n := range numbers {
		s.sum.Write(binary.LittleEndian.AppendUint64(b[:0], n))
	}
}

// check compares what the server answers with the model.
func (s *server) check(power bool) error {
	v, err := s.view()
	if err == nil {
		err = s.model.check(v, power)
	}
	return err
}

// sample is a sample to be sent.
type sample struct {
	series int
	second int64
}

// span returns the samples of a series in a time range, as a collector sends them.
func (s *server) span(i int, from, to int64) (all []sample) {
	f := s.frequencies[series[i].metric]
	if f == 0 {
		return nil
	}
	for at := from/f*f + series[i].phase; at < to; at += f {
		all = append(all, sample{i, at})
	}
	return all
}

// line returns a sample as a line of Influx line protocol.
func line(dst []byte, x sample, value float64) []byte {
	k := series[x.series].Key
	dst = fmt.Appendf(dst, "%s,cluster=%s,hostname=%s", k.Metric, k.Cluster, k.Host)
	for _, tag := range [][2]string{{"type", k.Device.Type}, {"type-id", k.Device.TypeID}, {"stype", k.Device.Subtype}, {"stype-id", k.Device.SubtypeID}} {
		if tag[1] != "" {
			dst = fmt.Appendf(dst, ",%s=%s", tag[0], tag[1])
		}
	}
	return fmt.Appendf(dst, " value=%v %d\n", value, x.second)
}

// batchLines is at most the number of rejected lines that a report lists.
const batchLines = 100

// write sends samples in batches, each with a new value.
func (s *server) write(samples []sample) error {
	var errs []error
	for len(samples) > 0 {
		n := min(len(samples), batchLines)
		errs = append(errs, s.writeBatch(samples[:n]))
		samples = samples[n:]
	}
	return errors.Join(errs...)
}

func (s *server) writeBatch(samples []sample) error {
	var body []byte
	values := make([]float64, len(samples))
	for i, x := range samples {
		values[i] = float64(s.model.n+i) + 0.5
		body = line(body, x, values[i])
	}
	report, err := s.ingester.Batch(context.Background(), ingest.Source{Transport: "http"}, body)
	synctest.Wait() // the journal may recover
	fmt.Fprintln(s.digest, "wrote", report.Accepted, report.RejectedTotal, err != nil)
	rejected := make(map[int]string)
	for _, r := range report.Rejected {
		rejected[r.Line-1] = r.Reason
	}
	for i, x := range samples {
		p := place{x.series, s.frequencies[series[x.series].metric], x.second}
		if reason, is := rejected[i]; is {
			if err := s.checkRejected(p, reason); err != nil {
				return &mismatch{err}
			}
			continue
		}
		s.model.add(p, event{n: s.model.n + i, outcome: values[i], acked: err == nil})
	}
	s.model.n += len(samples)
	if err != nil {
		s.unjournaled = 2
	} else {
		s.acked += report.Accepted
		if s.sync == journal.Always {
			s.model.durable = s.model.n
		}
	}
	return err
}

// mismatch is an error of the simulation: the server does not do what it promises.
type mismatch struct{ error }

func (m *mismatch) Unwrap() error { return m.error }

// checkRejected returns an error unless a sample may be rejected.
func (s *server) checkRejected(p place, reason string) error {
	now := s.now().Unix()
	switch {
	case p.second < now-int64(s.retention/time.Second), p.second > now+2*p.frequency+60:
		return nil
	case s.store.Evicted() > 0 || s.restored.Skipped > 0 || s.restored.Unreadable > 0:
		return nil
	}
	return fmt.Errorf("%+v is rejected at %d: %s", p, now, reason)
}

// free frees the samples of a path up to a time.
func (s *server) free(to int64, path ...string) error {
	elements := make([][]string, len(path))
	for i, element := range path {
		elements[i] = []string{element}
	}
	before, err := s.view()
	if err != nil {
		return &mismatch{err}
	}
	n, err := s.archive.Free(context.Background(), elements, to)
	synctest.Wait()
	fmt.Fprintln(s.digest, "freed", n, err != nil)
	after, readErr := s.view()
	if readErr != nil {
		return &mismatch{readErr}
	}
	for p, events := range s.model.places {
		k := series[p.series].Key
		named := k.Cluster == path[0] && (len(path) < 2 || path[1] == k.Host)
		if !named || p.second > to {
			continue
		}
		_, had := before.values[p]
		_, has := after.values[p]
		certain := had && !has
		if s.frequencies[series[p.series].metric] == p.frequency && !has && !s.uncertain(events) {
			certain = true // in memory or not
		}
		s.model.add(p, event{n: s.model.n, outcome: absent, acked: err == nil, maybe: !certain})
	}
	s.model.n++
	if err == nil && s.sync == journal.Always {
		s.model.durable = s.model.n
	}
	return err
}

// uncertain reports whether a place may hold what was not acknowledged.
func (s *server) uncertain(events []event) bool {
	last := events[len(events)-1]
	return !s.model.definite(last, false)
}

func (s *server) checkpoint() error {
	n := s.model.n
	err := s.archive.Checkpoint()
	if err == nil {
		s.stored(n)
	}
	return err
}

func (s *server) syncPoint() error {
	n := s.model.n
	err := s.archive.SyncPoint()(context.Background())
	if err == nil && !s.unsynced.Load() {
		s.model.durable = n
	}
	return err
}

// pick returns one of a list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }
