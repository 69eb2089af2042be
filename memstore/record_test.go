package memstore

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// journaled writes samples of several hosts, frequencies and devices as records for successive
// segments of a journal, and returns the records by segment and what the store then holds.
func journaled(t *testing.T) (segments [3][][]byte, held map[string]float64) {
	s := newStoreFor(t, func() time.Time { return time.Unix(base, 0) }, time.Hour)
	held = make(map[string]float64)
	var r Record
	for segment := range segments {
		for minute := range int64(4) {
			var batch []Sample
			for _, k := range []Key{
				{"alpha", "n1", "load", Device{}},
				{"alpha", "n1", "load", thread("1")},
				{"alpha", "n1", "load", thread("2")},
				{"alpha", "n2", "power", Device{Type: "socket", TypeID: "0", Subtype: "memory", SubtypeID: "3"}},
				{"beta", "n1", "load", Device{Subtype: "network", SubtypeID: "eth0"}},
			} {
				sr, err := s.Series(k)
				if err != nil {
					t.Fatal(err)
				}
				at := base - 1200 + 240*int64(segment) + 60*minute + int64(len(batch))
				v := float64(at) + 0.5
				batch = append(batch, Sample{sr, at * 1000, v})
				held[fmt.Sprint(k, at)] = v
			}
			r.Begin(uint64(segment+7), Origin{})
			if minute == 2 { // the segment changed between the write and the append
				r.Begin(uint64(segment+6), Origin{})
			}
			if refused, err := s.WriteRecord(batch, &r, func(*Record) error { return nil }); err != nil || len(refused) > 0 {
				t.Fatal(refused, err)
			}
			if minute == 2 {
				r.Move(uint64(segment+7), batch)
			}
			segments[segment] = append(segments[segment], slices.Clone(r.Bytes()))
			r.Commit()
		}
	}
	return segments, held
}

// Each segment of the journal can be replayed without the others, and without a checkpoint.
func TestEachSegmentNamesItsSeries(t *testing.T) {
	segments, held := journaled(t)
	for mask := 1; mask < 1<<len(segments); mask++ {
		s := newStoreFor(t, func() time.Time { return time.Unix(base, 0) }, time.Hour)
		r := s.Restore()
		want := 0
		for i, records := range segments {
			if mask&(1<<i) == 0 {
				continue
			}
			for _, record := range records {
				if err := r.Record(record); err != nil {
					t.Fatalf("segments %03b: %v", mask, err)
				}
			}
			want += len(held) / len(segments)
		}
		r.Done()
		if r.Lost > 0 || r.Samples != want {
			t.Errorf("segments %03b: %d samples are restored and %d lost; expected %d and 0", mask, r.Samples, r.Lost, want)
		}
	}
}

// A record that was made for another segment and moved can be the first of its segment.
func TestMovedRecordNamesItsSeries(t *testing.T) {
	moved := newStoreFor(t, func() time.Time { return time.Unix(base, 0) }, time.Hour)
	var rec Record
	sr, err := moved.Series(Key{"alpha", "n1", "load", thread("5")})
	if err != nil {
		t.Fatal(err)
	}
	batch := []Sample{{sr, base * 1000, 1}}
	for segment := range uint64(2) { // the first segment has the name, the second gets it by Move
		rec.Begin(0, Origin{})
		if _, err := moved.WriteRecord(batch, &rec, func(*Record) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if segment == 1 {
			rec.Move(1, batch)
			again := newStoreFor(t, moved.now, time.Hour)
			restoring := again.Restore()
			if err := restoring.Record(rec.Bytes()); err != nil {
				t.Fatal(err)
			}
			restoring.Done()
			if restoring.Samples != 1 || restoring.Lost != 0 {
				t.Errorf("restored %+v", restoring.Restored)
			}
		}
		rec.Commit()
	}
}
