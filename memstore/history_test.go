package memstore

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// streamWriter writes messages of a stream to a store and keeps the records, as a journal does.
type streamWriter struct {
	t       *testing.T
	store   *Store
	records [][]byte
}

func newStreamWriter(t *testing.T) *streamWriter {
	return &streamWriter{t: t, store: newStoreFor(t, func() time.Time { return time.Unix(base, 0) }, time.Hour)}
}

func (w *streamWriter) write(from Origin, v float64, slots map[int][]int64) {
	w.t.Helper()
	var batch []Sample
	for device, times := range slots {
		for _, at := range times {
			sr, err := w.store.Series(Key{"alpha", "n1", "load", thread(fmt.Sprint(device))})
			if err != nil {
				w.t.Fatal(err)
			}
			batch = append(batch, Sample{sr, (base + at) * 1000, v})
		}
	}
	var r Record
	r.Begin(7, from)
	refused, err := w.store.WriteRecord(batch, &r, func(r *Record) error {
		w.records = append(w.records, bytes.Clone(r.Bytes()))
		return nil
	})
	if err != nil || len(refused) > 0 {
		w.t.Fatal(refused, err)
	}
	r.Commit()
}

func (w *streamWriter) restart() {
	w.t.Helper()
	w.store = newStoreFor(w.t, w.store.now, time.Hour)
	r := w.store.Restore()
	for _, record := range w.records {
		if err := r.Record(record); err != nil {
			w.t.Fatal(err)
		}
	}
	r.Done()
	if r.Lost > 0 {
		w.t.Fatalf("%+v", r.Restored)
	}
}

// checkpoint replaces the records by those that a checkpoint writes: the samples are elsewhere then.
func (w *streamWriter) checkpoint() (states []HostState) {
	w.t.Helper()
	w.records = nil
	s := w.store.Snapshot()
	for _, cluster := range s.Clusters() {
		err := s.Hosts(cluster, func(h HostState) error {
			states = append(states, h)
			return nil
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	s.Commit()
	err := w.store.RecordHistory(func(record []byte) error {
		w.records = append(w.records, bytes.Clone(record))
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return states
}

func (w *streamWriter) value(device int, at int64) float64 {
	w.t.Helper()
	got, err := w.store.Read(w.t.Context(), Selection{Cluster: "alpha", Host: "n1", Metric: "load", Type: "hwthread", TypeIDs: []string{fmt.Sprint(device)}}, Range{From: base + at, To: base + at + 59, Pad: PadBoth})
	if err != nil || len(got.Values) == 0 {
		return math.NaN()
	}
	return got.Values[0]
}

func (w *streamWriter) want(what string, device int, at int64, v float64) {
	w.t.Helper()
	if got := w.value(device, at); got != v {
		w.t.Errorf("%s: device %d at %d holds %v, want %v", what, device, at, got, v)
	}
}

func at(device int, times ...int64) map[int][]int64 { return map[int][]int64{device: times} }

// What an older message writes when it is delivered again, or late, does not replace what a later
// one wrote, and is not lost where no later one wrote.
func TestOlderMessageDoesNotOverwrite(t *testing.T) {
	f := func(what string, between func(w *streamWriter)) {
		t.Helper()
		w := newStreamWriter(t)
		w.write(Origin{1, 3}, 3, map[int][]int64{0: {-60}, 1: {-60}, 2: {-60}})
		w.write(Origin{1, 9}, 9, at(1, -60))
		between(w)
		w.write(Origin{1, 5}, 5, map[int][]int64{0: {-60}, 1: {-60, -120}, 3: {-60}})
		w.want(what, 0, -60, 5)
		w.want(what, 1, -60, 9)
		w.want(what, 1, -120, 5)
		w.want(what, 2, -60, 3)
		w.want(what, 3, -60, 5)
		w.write(Origin{1, 9}, 9, at(1, -60)) // and again
		w.write(Origin{1, 10}, 10, at(0, -60))
		w.want(what, 1, -60, 9)
		w.want(what, 0, -60, 10)
		w.write(Origin{2, 1}, 1, at(0, -60)) // another stream has its own order
		w.want(what, 0, -60, 1)
		w.write(Origin{}, 0.5, at(1, -60)) // a sample of no stream is written as before
		w.want(what, 1, -60, 0.5)
		w.restart()
		w.want(what+", after a restart", 0, -60, 1)
		w.want(what+", after a restart", 1, -60, 0.5)
	}
	f("at once", func(*streamWriter) {})
	f("after a restart", (*streamWriter).restart)
	f("after the window was sealed", func(w *streamWriter) {
		h := w.store.host("alpha", "n1")
		h.mu.Lock()
		for _, l := range h.lanes {
			for _, g := range l.segments {
				h.close(l, g)
			}
		}
		jobs := h.takeSealing()
		h.mu.Unlock()
		w.store.seal(h, jobs)
	})
	f("when earlier messages are settled", func(w *streamWriter) { w.store.Settle(1, 3) })
}

// A checkpoint keeps what the journal before it knew.
func TestOlderMessageDoesNotOverwriteAfterACheckpoint(t *testing.T) {
	w := newStreamWriter(t)
	w.write(Origin{1, 3}, 3, map[int][]int64{0: {-60}, 1: {-60}})
	w.write(Origin{1, 9}, 9, at(1, -60))
	states := w.checkpoint()
	w.store = newStoreFor(t, w.store.now, time.Hour)
	r := w.store.Restore()
	for _, s := range states {
		if err := r.State(s, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, record := range w.records {
		if err := r.Record(record); err != nil {
			t.Fatal(err)
		}
	}
	r.Done()
	w.write(Origin{1, 5}, 5, map[int][]int64{0: {-60}, 1: {-60}})
	w.want("checkpoint", 0, -60, 5)
	w.want("checkpoint", 1, -60, 9)
}

// A lane remembers a bounded number of messages. Beyond them, an older message fills in only what
// is missing.
func TestHistoryIsBounded(t *testing.T) {
	w := newStreamWriter(t)
	for n := range uint64(5000) {
		w.write(Origin{1, 10 + n}, float64(10+n), at(int(n%4), -60*int64(n%20)))
	}
	h := w.store.host("alpha", "n1").lanes[0].history
	if n := len(h.columns) + len(h.runs); n > maxHistory*4+minMaxHistory+2 {
		t.Errorf("the lane remembers %d columns and messages", n)
	}
	w.restart()
	w.write(Origin{1, 5}, 5, map[int][]int64{0: {0, -1260}, 5: {0}})
	w.want("old", 0, 0, 4990)
	w.want("old", 0, -1260, 5)
	w.want("old", 5, 0, 5)
	before := w.store.memory.used.Load()
	w.store.Settle(1, 6000)
	w.write(Origin{1, 6001}, 1, at(0, 0))
	if n := len(w.store.host("alpha", "n1").lanes[0].history.runs); n != 1 {
		t.Errorf("%d messages are remembered although all but one are settled", n)
	}
	if got := w.store.memory.used.Load(); got > before+64 {
		t.Errorf("memory grew from %d to %d", before, got)
	}
}

// Messages in any order and with repetitions end as if they had come once and in their order.
func TestMessagesInAnyOrder(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 5))
		w, want := newStreamWriter(t), make(map[[2]int64]float64)
		messages := make([]map[int][]int64, 6)
		for n := range messages {
			messages[n] = make(map[int][]int64)
			for range 1 + r.IntN(4) {
				device, at := r.IntN(3), -60*int64(r.IntN(3))
				messages[n][device] = append(messages[n][device], at)
				want[[2]int64{int64(device), at}] = float64(n + 1)
			}
		}
		order := append(r.Perm(len(messages)), r.IntN(len(messages)), r.IntN(len(messages)))
		for _, n := range order {
			w.write(Origin{1, uint64(n + 1)}, float64(n+1), messages[n])
			if r.IntN(3) == 0 {
				w.restart()
			}
		}
		for p, v := range want {
			w.want(fmt.Sprint("seed ", seed, " order ", order), int(p[0]), p[1], v)
		}
	}
}

// The bytes of FORMAT.md.
func TestOriginInARecord(t *testing.T) {
	w := newStreamWriter(t)
	w.write(Origin{0x1122334455667788, 300}, 2, at(1, -60))
	golden := "" +
		"1b 05616c706861 026e31" + // host 1, alpha, n1
		"1e 3a 3c 00 04 6c6f6164 08 6877746872656164 01 31" +
		"4f 8877665544332211 ac02" + // from message 300
		"19 3c" // a run of host 1
	want, err := hex.DecodeString(strings.ReplaceAll(golden, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(w.records[0], want) {
		t.Errorf("got % x, want % x ...", w.records[0], want)
	}
	w.checkpoint()
	if want := []byte{0x5f, 1, 0}; !bytes.HasSuffix(w.records[0], want) { // to column 0
		t.Errorf("got % x, want ... % x", w.records[0], want)
	}
}
