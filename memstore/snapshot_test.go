package memstore

import (
	"math"
	"slices"
	"testing"
	"time"
)

// TestFreedWindowsAreNotNewerThanBlocks frees a window while a snapshot is taken, and writes it again
// before the snapshot reaches the host. A reader of the states lets a freed window delete the blocks of
// older snapshots: the window must be in the snapshot of the new block, or in none before it.
func TestFreedWindowsAreNotNewerThanBlocks(t *testing.T) {
	at := time.Unix(1795200000, 0)
	newStore := func() (*Store, func(seconds int64)) {
		s, err := New(Options{
			Metrics: []Metric{{Name: "load", Frequency: time.Second}}, Retention: 10 * time.Minute,
			Now: func() time.Time { return at },
		})
		if err != nil {
			t.Fatal(err)
		}
		return s, func(seconds int64) {
			t.Helper()
			sr, err := s.Series(Key{Cluster: "c", Host: "h", Metric: "load"})
			if err != nil {
				t.Fatal(err)
			}
			if refused, err := s.Write([]Sample{{Series: sr, Time: (at.Unix() + seconds) * 1000, Value: 1}}); err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
		}
	}
	counts := func(n *Snapshot) (blocks, freed int) {
		states, _ := take(t, n)
		for _, h := range states {
			for _, l := range h.Lanes {
				blocks += len(l.Windows)
				freed += len(l.Freed)
			}
		}
		return blocks, freed
	}
	seal := func(s *Store) { s.Seal((at.Unix()+1000)*1000, true) }

	s, write := newStore()
	write(-300)
	seal(s)
	snapshot := s.Snapshot()
	if n := s.Free([][]string{{"c"}}, at.Unix()-200); n != 1 {
		t.Fatalf("freed %d windows", n)
	}
	write(-299)
	seal(s)
	if blocks, freed := counts(snapshot); blocks != 1 || freed != 1 {
		t.Errorf("the snapshot has %d blocks and %d freed windows, want 1 and 1", blocks, freed)
	}
	snapshot.Commit()
	if blocks, freed := counts(s.Snapshot()); blocks != 0 || freed != 0 {
		t.Errorf("the next snapshot has %d blocks and %d freed windows", blocks, freed)
	}

	// A snapshot of blocks has no freed windows: it must leave the block to the next snapshot.
	s, write = newStore()
	write(-300)
	seal(s)
	s.Free([][]string{{"c"}}, at.Unix()-200)
	write(-299)
	seal(s)
	snapshot = s.UnstoredBlocks()
	if blocks, freed := counts(snapshot); blocks != 0 || freed != 0 {
		t.Errorf("the snapshot of blocks has %d blocks and %d freed windows", blocks, freed)
	}
	snapshot.Commit()
	if blocks, freed := counts(s.Snapshot()); blocks != 1 || freed != 1 {
		t.Errorf("the snapshot after that of blocks has %d blocks and %d freed windows, want 1 and 1", blocks, freed)
	}
}

// A series that was removed and is known again, but without a sample, does not give its older samples
// on disk another time: they bring their offset with them.
func TestOlderSamplesKeepTheirTimes(t *testing.T) {
	const n = 100
	now := clockAt(base + n*60)
	s := newStore(t, now)
	put(t, s, series(t, s, "n1", "power", thread("0")), base+3, make([]float64, n-1)...)
	put(t, s, series(t, s, "n1", "load", Device{}), base+7, make([]float64, n-1)...)
	s.Seal(math.MaxInt64, true)
	old, _ := take(t, s.Snapshot())
	for _, column := range []uint32{1, 5} {
		known := old[0]
		known.Lanes = slices.Clone(known.Lanes)
		known.Lanes[0].Windows = nil
		known.Lanes[0].Series = slices.Clone(known.Lanes[0].Series)
		known.Lanes[0].Series[1] = SeriesState{Column: column, Metric: "load", Last: -1}
		again := newStore(t, now)
		r := again.Restore()
		for _, err := range []error{r.State(known, true), r.State(old[0], false), r.StatesDone()} {
			if err != nil {
				t.Fatal(err)
			}
		}
		r.Done()
		d, err := again.Read(t.Context(), Selection{Cluster: "alpha", Host: "n1", Metric: "load"}, Range{From: base, To: base + n*60})
		if err != nil || d.From != base+7 || len(d.Values) != n-1 {
			t.Errorf("column %d: %d values from %d, %v; want %d from %d", column, len(d.Values), d.From, err, n-1, base+7)
		}
	}
}

// A new window begins after the slots that are only on disk, wherever the windows of that time ended.
func TestWindowsBeginAfterEvictedSlots(t *testing.T) {
	for minutes := range int64(300) {
		s := newStore(t, clockAt(base+400*60))
		end := (base + minutes*60) * 1000
		s.Skip("alpha", "n1", 60_000, base*1000%60_000, end)
		put(t, s, series(t, s, "n1", "load", Device{}), float64(base+minutes*60), 1, 2, 3)
		s.Seal(math.MaxInt64, true)
		blocks, _ := take(t, s.Snapshot())
		b := blocks[0].Lanes[0].Windows[0].Block
		if begin := b.Grid + b.First*b.Frequency; begin < end {
			t.Fatalf("the block begins %d s before what is on disk ends", (end-begin)/1000)
		}
	}
}
