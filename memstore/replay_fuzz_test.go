package memstore

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"
)

// records returns a few records of a store.
func records(t testing.TB) (all [][]byte) {
	s := newStoreFor(t, func() time.Time { return time.Unix(base, 0) }, time.Hour)
	keep := func(r *Record) {
		all = append(all, slices.Clone(r.Bytes()))
		r.Commit()
	}
	for i, k := range []Key{
		{"alpha", "n1", "load", Device{}},
		{"alpha", "n1", "power", thread("1")},
		{"alpha", "n2", "load", Device{Subtype: "network", SubtypeID: "eth0"}},
		{"alpha", "n1", "load", Device{}},
	} {
		sr, err := s.Series(k)
		if err != nil {
			t.Fatal(err)
		}
		var r Record
		for at := range int64(3 + i) {
			if _, err := s.WriteRecord([]Sample{{sr, (base - 600 + at*60 + int64(i)) * 1000, float64(i) + 0.1}, {sr, (base - 600) * 1000, 1}}, &r, func(*Record) error { return nil }); err != nil {
				t.Fatal(err)
			}
		}
		keep(&r)
	}
	s.FreeRecord([][]string{{"alpha", "beta"}, {"*"}}, base-300, 7, func(r *Record) error {
		keep(r)
		return nil
	})
	return all
}

// FuzzRecord: damaged records are an error, and the memory that they take is proportional to their
// length.
func FuzzRecord(f *testing.F) {
	all := records(f)
	for _, r := range all {
		f.Add(r)
	}
	f.Add(slices.Concat(all...))
	entry := func(x, entry uint64, rest ...uint64) []byte {
		b := binary.AppendUvarint(nil, x<<entryBits|entry)
		for _, v := range rest {
			b = binary.AppendUvarint(b, v)
		}
		return b
	}
	host := append(entry(1, entryHost), "\x01a\x01b"...)
	for _, b := range [][]byte{
		{},
		{0xff},
		{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01},
		entry(1<<32, entryRun), entry(1, entryRun, 1<<40, 1), entry(1, entryRun, 60, 1<<63), entry(0, entryOther), entry(1<<31, entryOther),
		entry(otherFreeLane, entryOther), entry(otherFreeEnd, entryOther, 0), entry(otherFree, entryOther, 1<<60),
		append(entry(otherFree, entryOther, 0, 2*base, 0), entry(otherFreeEnd, entryOther, 0)...),
		append(entry(otherFree, entryOther, 0, 2*base, 0), entry(otherFreeEnd, entryOther, 1)...),
		append(entry(otherFree, entryOther, 0, 2*base, 0), entry(otherFreeLane, entryOther, 0, 0, 60, 0, 1<<40)...),
		append(append(entry(otherFree, entryOther, 0, 2*base, 0), entry(otherFreeLane, entryOther, 0, 0, 60, 0, 0)...), entry(otherFreeEnd, entryOther, 1)...),
		append(host, entry(1, entrySeries, 1<<24-1, 60, 0, 0, 0, 0, 0, 0, 0)...),
		append(host, entry(1, entrySeries, 1<<24, 60, 0, 0, 0, 0, 0, 0, 0)...),
		append(host, entry(1, entrySeries, 0, 60, 60_000, 0, 0, 0, 0, 0, 0)...),
		append(host, entry(1, entrySeries, 0, 60, 0, 60_000, 0, 0, 0, 0, 0)...),
		append(append(host, entry(1, entrySeries, 5, 60, 0, 0, 0, 0, 0, 0, 0)...), entry(1, entryRun, 60, 2*base/60)...),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		if len(record) > 1<<16 {
			return
		}
		s := newStoreFor(t, func() time.Time { return time.Unix(base, 0) }, time.Hour)
		r := s.Restore()
		for _, known := range all[:2] {
			if err := r.Record(known); err != nil {
				t.Fatal(err)
			}
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := r.Record(record); err != nil && !errors.Is(err, errRecord) && !errors.Is(err, ErrMemory) {
			t.Errorf("error %v", err)
		}
		runtime.ReadMemStats(&after)
		// A host or series takes some KB, an unused column 12 bytes, a late sample a window.
		if used, limit := after.TotalAlloc-before.TotalAlloc, uint64(maxGaps*90+1<<22+len(record)*(1<<16)); used > limit {
			t.Errorf("%d bytes for %d", used, len(record))
		}
		r.Done()
		checkAccount(t, s, "after it")
		// The resulting store can be stored and restored.
		blocks, open := take(t, s.Snapshot())
		again := newStoreFor(t, s.now, time.Hour).Restore()
		for _, h := range slices.Concat(open, blocks) {
			if err := again.State(h, true); err != nil {
				t.Errorf("the remaining data: %v", err)
			}
		}
		again.Done()
	})
}

// If the record with the place of a series is damaged, its samples are lost. They are not given to
// the series that had the column before.
func TestSamplesOfUnknownSeriesAreLost(t *testing.T) {
	clock := func() time.Time { return time.Unix(base, 0) }
	// An older state, with blocks only, has "load" of a thread in column 0.
	s := newStoreFor(t, clock, time.Hour)
	var d memoryDisk
	sr, err := s.Series(Key{"alpha", "n1", "load", thread("9")})
	if err != nil {
		t.Fatal(err)
	}
	var batch []Sample
	for at := range int64(20) {
		batch = append(batch, Sample{sr, (base - 3000 + at*60) * 1000, 7})
	}
	if _, err := d.write(s, batch...); err != nil {
		t.Fatal(err)
	}
	blocks, _ := take(t, s.Snapshot())

	// Later that series was removed, and another series got the column.
	later := newStoreFor(t, clock, time.Hour)
	other, err := later.Series(Key{"alpha", "n1", "load", Device{}})
	if err != nil {
		t.Fatal(err)
	}
	var lost, r Record
	if _, err := later.WriteRecord([]Sample{{other, base * 1000, 1}}, &lost, func(*Record) error { return nil }); err != nil {
		t.Fatal(err)
	}
	lost.Commit() // and the record is damaged
	if _, err := later.WriteRecord([]Sample{{other, (base - 60) * 1000, 2}}, &r, func(*Record) error { return nil }); err != nil {
		t.Fatal(err)
	}

	again := newStoreFor(t, clock, time.Hour)
	restoring := again.Restore()
	if err := restoring.State(HostState{Cluster: "alpha", Host: "n1", Number: 1}, true); err != nil {
		t.Fatal(err)
	}
	for _, h := range blocks {
		if err := restoring.State(h, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := restoring.Record(r.Bytes()); err != nil {
		t.Fatal(err)
	}
	restoring.Done()
	if restoring.Lost != 1 || restoring.Samples != 0 {
		t.Errorf("restored %+v", restoring.Restored)
	}
}

// The number of a host in records is never given to another host, even if the record with its names
// is damaged.
func TestNumbersOfHostsAreNotUsedAgain(t *testing.T) {
	clock := func() time.Time { return time.Unix(base, 0) }
	s := newStoreFor(t, clock, time.Hour)
	r := s.Restore()
	if err := r.State(HostState{Cluster: "alpha", Host: "n1", Number: 1}, true); err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint64{9, 4} { // it was removed and added again
		b := binary.AppendUvarint(nil, number<<entryBits|entryHost)
		if err := r.Record(append(b, "\x05alpha\x02n1"...)); err != nil {
			t.Fatal(err)
		}
	}
	r.Done()
	sr, err := s.Series(Key{"alpha", "n2", "load", Device{}})
	if err != nil {
		t.Fatal(err)
	}
	if n := sr.lane.host.number; n <= 9 {
		t.Errorf("a new host has number %d", n)
	}
}
