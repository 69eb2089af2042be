package memstore

import (
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/codec"
)

// A record that gives a series another place than a block on disk moves the block's samples, with an
// archive also those that have left the retention. Until other blocks have them, that block is the only
// copy apart from the open windows: nothing may call it deleted.
func TestMovedSamplesStayOnDisk(t *testing.T) {
	const n = 120
	create := func() *Store {
		s, err := New(Options{
			Metrics: []Metric{{Name: "load", Frequency: time.Minute}}, Retention: time.Hour, KeepUnstored: true, Now: clockAt(base + n*60),
		})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	before := create()
	before.now = clockAt(base)
	for i := range int64(n) {
		before.now = clockAt(base + i*60)
		put(t, before, series(t, before, "n1", "load", Device{}), float64(base+i*60+3), float64(i))
	}
	before.Seal(base*1000+86_400_000, true)
	blocks, _ := take(t, before.Snapshot())
	var disk memoryDisk
	other := create()
	if refused, err := disk.write(other, Sample{series(t, other, "n1", "load", Device{}), (base + n*60 + 20) * 1000, 1}); err != nil || len(refused) > 0 {
		t.Fatal(refused, err)
	}

	s := create()
	r := s.Restore()
	if err := r.State(blocks[0], false); err != nil {
		t.Fatal(err)
	}
	if err := r.StatesDone(); err != nil {
		t.Fatal(err)
	}
	for _, record := range disk.records {
		if err := r.Record(record); err != nil {
			t.Fatal(err)
		}
	}
	r.Done()
	s.Seal(base*1000+86_400_000, true)
	states, _ := take(t, s.Snapshot())
	// Windows that have left the retention completely stay on disk and are not restored.
	count := func(states []HostState) (n int64) {
		for _, w := range states[0].Lanes[0].Windows {
			if w.Block.Grid+(w.Block.First+int64(w.Block.Slots))*60_000 < s.RetainedSince() {
				continue
			}
			values, err := w.Block.Values(new(codec.Decoder))
			if err != nil {
				t.Fatal(err)
			}
			n += values
		}
		return n
	}
	stored, had := count(states), count(blocks)
	if stored != had+1 || had <= 60 {
		t.Errorf("%d samples in blocks, want %d, of which some have left the retention", stored, had+1)
	}
	if freed := states[0].Lanes[0].Freed; len(freed) > 0 {
		t.Errorf("%v is called deleted", freed)
	}
}
