package blockfile

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
)

const path = "file.rsb"

var (
	testHead   = Head{Run: 1_795_000_000_000, Kind: Windows, Journal: 17, Store: uuid.MustParse("01234567-89ab-cdef-0123-456789abcdef")}
	testMarker = marker{0xd1, 0x5e, 0xa5, 0xed, 0xfe, 0xed, 0xbe, 0xef}
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write returns the bytes of a file.
func write(t testing.TB, hosts ...memstore.HostState) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newWriter(&b, testHead, testMarker)
	ok(t, err)
	add(t, w, hosts...)
	ok(t, w.Close())
	ok(t, w.Close())
	if w.Size() != int64(b.Len()) {
		t.Fatalf("a size of %d after %d bytes", w.Size(), b.Len())
	}
	return b.Bytes()
}

// add adds hosts to a file and returns their index entries.
func add(t testing.TB, w *Writer, hosts ...memstore.HostState) []HostIndex {
	t.Helper()
	index := make([]HostIndex, len(hosts))
	for i, h := range hosts {
		var err error
		index[i], err = w.Add(h)
		ok(t, err)
	}
	return index
}

// put writes a file.
func put(t testing.TB, fsys disk.FS, b []byte) {
	t.Helper()
	f, err := fsys.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	ok(t, err)
	_, err = f.Write(b)
	ok(t, err)
	ok(t, f.Close())
}

func content(t testing.TB, fsys disk.FS) []byte {
	t.Helper()
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	ok(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	ok(t, err)
	return b
}

func withFile(t testing.TB, b []byte) *disktest.FS {
	t.Helper()
	fsys := disktest.New(1)
	put(t, fsys, b)
	return fsys
}

// lost counts what could not be read of a file.
type lost struct {
	hosts, series, blocks int
	damage                []*disk.DamageError
	unreadable            []*disk.ReadError
}

// compare reads all of a file. Everything read must be as written, and every missing part must have
// an error with a place in the file.
func compare(t testing.TB, f *File, written []memstore.HostState) lost {
	t.Helper()
	byName := make(map[hostName]memstore.HostState)
	for _, h := range written {
		byName[hostName{h.Cluster, h.Host}] = h
	}
	l := lost{hosts: len(written) - len(f.Hosts), damage: f.Damage, unreadable: f.Unreadable}
	if want := testHead; f.Head != want && f.Store != uuid.Nil || f.Run != want.Run || f.Kind != want.Kind || f.Journal != want.Journal {
		t.Fatalf("head %+v, want %+v", f.Head, testHead)
	}
	failed := func(err error) {
		switch err := err.(type) {
		case *disk.DamageError:
			l.damage = append(l.damage, err)
		case *disk.ReadError:
			l.unreadable = append(l.unreadable, err)
		default:
			t.Fatalf("error %v is a %T", err, err)
		}
	}
	for i, h := range f.Hosts {
		want, known := byName[hostName{h.Cluster, h.Host}]
		if !known || h.Number != want.Number || len(h.Lanes) != len(want.Lanes) {
			t.Fatalf("host %d is %+v, want %s/%s, number %d with %d lanes", i, h, want.Cluster, want.Host, want.Number, len(want.Lanes))
		}
		delete(byName, hostName{h.Cluster, h.Host}) // detects a host that is listed twice
		series, err := f.Series(i)
		if err != nil {
			l.series++
			failed(err)
		}
		for j, lane := range h.Lanes {
			wantLane := want.Lanes[j]
			if lane.Frequency != wantLane.Frequency || lane.Grid != wantLane.Grid || len(lane.Windows) != len(wantLane.Windows) || !same(lane.Freed, wantLane.Freed) {
				t.Fatalf("lane %+v, want %+v", lane, wantLane)
			}
			if err == nil && !same(series[j], wantLane.Series) {
				t.Fatalf("series of %s/%s\n%+v, want\n%+v", h.Cluster, h.Host, series[j], wantLane.Series)
			}
			for k, w := range lane.Windows {
				wantWindow := wantLane.Windows[k]
				if w.Header != wantWindow.Block.Header || w.Open != wantWindow.Open {
					t.Fatalf("window %+v, want %+v, %t", w, wantWindow.Block.Header, wantWindow.Open)
				}
				b, err := f.Block(w)
				if err != nil {
					l.blocks++
					failed(err)
					continue
				}
				if !bytes.Equal(b.Bytes(), wantWindow.Block.Bytes()) || cap(b.Bytes()) != len(b.Bytes()) {
					t.Fatal("the block differs from the written one, or its slice has spare capacity")
				}
			}
		}
	}
	for _, d := range l.damage {
		if d.Path != path || d.Offset < 0 {
			t.Fatalf("damage %v", d)
		}
	}
	return l
}

func same[T any](a, b []T) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

// reopen opens a file and compares it.
func reopen(t testing.TB, fsys disk.FS, written []memstore.HostState) lost {
	t.Helper()
	f, err := Open(fsys, path)
	ok(t, err)
	defer f.Close()
	return compare(t, f, written)
}

// randomHosts returns n hosts with random content.
func randomHosts(r *rand.Rand, n int) []memstore.HostState {
	hosts := make([]memstore.HostState, n)
	for i := range hosts {
		h := memstore.HostState{Cluster: "c" + fmt.Sprint(r.IntN(2)), Host: fmt.Sprintf("högt%03d", i), Number: r.Uint32()}
		for j := range r.IntN(4) {
			h.Lanes = append(h.Lanes, randomLane(r, []int64{60_000, 1000, 86_400_000, 7000}[j]))
		}
		hosts[i] = h
	}
	return hosts
}

func randomLane(r *rand.Rand, frequency int64) memstore.LaneState {
	l := memstore.LaneState{Frequency: frequency, Grid: r.Int64N(frequency)}
	column, first := uint32(0), r.Int64N(1<<30)-1<<29
	there := make(map[memstore.Key]bool)
	for range r.IntN(30) {
		column += uint32(r.IntN(3) * r.IntN(2))
		s := memstore.SeriesState{
			Column: column, Metric: fmt.Sprint("metric", r.IntN(5)), Device: randomDevice(r),
			First: math.MaxInt64, Last: math.MinInt64,
		}
		key := memstore.Key{Metric: s.Metric, Device: s.Device}
		if there[key] {
			continue
		}
		there[key] = true
		if r.IntN(3) == 0 {
			s.Offset = r.Int64N(frequency) - frequency/2
		}
		if r.IntN(4) > 0 {
			s.First = first + int64(r.IntN(2)*r.IntN(1000))
			s.Last = s.First + int64(r.IntN(100))
		}
		l.Series = append(l.Series, s)
		column++
	}
	var b block.Builder
	for range r.IntN(4) {
		header := block.Header{Frequency: frequency, Grid: l.Grid, First: first, Slots: 1 + r.IntN(9), Generation: uint8(r.IntN(3))}
		b.Reset(header)
		for id := range uint32(1 + r.IntN(4)) {
			values := make([]float64, header.Slots)
			for i := range values {
				values[i] = math.Float64frombits(r.Uint64() >> (id % 2 * 60))
			}
			values[0] = 1
			b.Add(block.Column{ID: 2 * id, Offset: int64(id)}, values)
		}
		l.Windows = append(l.Windows, memstore.WindowState{Block: b.Finish(), Open: r.IntN(2) == 0})
		first += int64(header.Slots + r.IntN(2)*r.IntN(50))
	}
	for range r.IntN(3) {
		l.Freed = append(l.Freed, memstore.SlotRange{First: first - r.Int64N(1000), Slots: r.IntN(10)})
	}
	return l
}

func randomDevice(r *rand.Rand) memstore.Device {
	switch r.IntN(4) {
	case 0:
		return memstore.Device{}
	case 1:
		return memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(r.IntN(70))}
	case 2:
		return memstore.Device{Type: "accelerator", TypeID: "00000000:49:00.0", Subtype: "lane", SubtypeID: fmt.Sprint(r.IntN(3))}
	default:
		return memstore.Device{Subtype: "network", SubtypeID: "eth0"}
	}
}
