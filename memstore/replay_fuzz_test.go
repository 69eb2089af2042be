package memstore

import (
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"
	"time"
)

// records are some that a store makes.
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
			if _, err := s.WriteRecord([]Sample{{sr, (base - 600 + at*60 + int64(i)) * 1000, float64(i) + 0.1}, {sr, (base - 600) * 1000, 1}}, &r); err != nil {
				t.Fatal(err)
			}
		}
		keep(&r)
	}
	var r Record
	r.Free([][]string{{"alpha", "beta"}, {"*"}}, base-300)
	keep(&r)
	return all
}

// FuzzRecord: bytes that are no record are an error, and cost no more memory than
// their length gives reason to.
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
		entry(1<<32, entryRun), entry(1, entryRun, 1<<40, 1), entry(1, entryRun, 60, 1<<63), entry(0, 14), entry(0, 15),
		entry(1, entryHost, 1<<62), append(entry(1, entryHost), "\x02..\x01b"...), append(entry(1, entryHost), "\x01\n\x01b"...),
		entry(1<<31, entryFree, 1<<60), entry(1<<31, entryFree), entry(0, entryFree, 1<<63),
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
		// A told host or series is some KB, a column left out 12 bytes, a late sample a window.
		if used, most := after.TotalAlloc-before.TotalAlloc, uint64(maxGaps*90+1<<22+len(record)*(1<<16)); used > most {
			t.Errorf("%d bytes for %d", used, len(record))
		}
		r.Done()
		checkAccount(t, s, "after it")
		// What it has left can be kept and brought back.
		blocks, open := take(t, s.Snapshot())
		again := newStoreFor(t, s.now, time.Hour).Restore()
		for _, h := range slices.Concat(open, blocks) {
			if err := again.State(h, true); err != nil {
				t.Errorf("what it left: %v", err)
			}
		}
		again.Done()
	})
}

// A series whose place a damaged record told takes no samples of another one that
// had it: they are lost, and not given to somebody else.
func TestSamplesOfWhomNobodyTold(t *testing.T) {
	clock := func() time.Time { return time.Unix(base, 0) }
	// An older state, of blocks only, has "load" of a thread in column 0.
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

	// Later that had left the store, and another series got the column.
	later := newStoreFor(t, clock, time.Hour)
	other, err := later.Series(Key{"alpha", "n1", "load", Device{}})
	if err != nil {
		t.Fatal(err)
	}
	var told, r Record
	if _, err := later.WriteRecord([]Sample{{other, base * 1000, 1}}, &told); err != nil {
		t.Fatal(err)
	}
	told.Commit() // and the record is damaged
	if _, err := later.WriteRecord([]Sample{{other, (base - 60) * 1000, 2}}, &r); err != nil {
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

// A number of a host that records used is never another host's, also if what told
// it is damaged.
func TestNumbersOfHostsAreNotUsedAgain(t *testing.T) {
	clock := func() time.Time { return time.Unix(base, 0) }
	s := newStoreFor(t, clock, time.Hour)
	r := s.Restore()
	if err := r.State(HostState{Cluster: "alpha", Host: "n1", Number: 1}, true); err != nil {
		t.Fatal(err)
	}
	for _, number := range []uint64{9, 4} { // it left and came again
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
