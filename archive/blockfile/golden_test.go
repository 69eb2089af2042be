package blockfile

import (
	"bytes"
	"flag"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

var update = flag.Bool("update", false, "write the golden files")

func built(h block.Header, columns map[uint32][]float64) *block.Block {
	var b block.Builder
	b.Reset(h)
	for id := range uint32(10) {
		if values := columns[id]; values != nil {
			b.Add(block.Column{ID: id}, values)
		}
	}
	return b.Finish()
}

func samples(t testing.TB, b *block.Block) (n int64) {
	var d codec.Decoder
	for i := range b.Columns() {
		s, err := b.Stats(&d, i)
		ok(t, err)
		n += int64(s.Count)
	}
	return n
}

// exampleHost returns a host with every feature of the format.
func exampleHost() memstore.HostState {
	header := block.Header{Frequency: 60_000, Grid: 17_000, First: 29_750_000, Slots: 3}
	next := header
	next.First, next.Slots, next.Generation = header.First+5, 2, 1
	return memstore.HostState{Cluster: "emmy", Host: "e0101", Number: 300, Lanes: []memstore.LaneState{
		{
			Frequency: 60_000, Grid: 17_000,
			Series: []memstore.SeriesState{
				{Column: 0, Metric: "cpu_load", First: header.First, Last: header.First + 6},
				{Column: 2, Metric: "clock", Device: memstore.Device{Type: "hwthread", TypeID: "3"}, Offset: -5000, First: header.First, Last: header.First + 6},
				{Column: 3, Metric: "net", Device: memstore.Device{Subtype: "network", SubtypeID: "eth0"}, First: math.MaxInt64, Last: math.MinInt64},
			},
			Windows: []memstore.WindowState{
				{Block: built(header, map[uint32][]float64{0: {1, 1, 1}, 2: {95.01, math.NaN(), 95.03}})},
				{Block: built(next, map[uint32][]float64{0: {1, 2}}), Open: true},
			},
			Freed: []memstore.SlotRange{{First: header.First - 10, Slots: 5}},
		},
		{Frequency: 1000},
	}}
}

func goldenHosts() []memstore.HostState {
	other := exampleHost()
	other.Host, other.Number = "e0102", 0
	other.Lanes = other.Lanes[:1]
	return []memstore.HostState{exampleHost(), other, {Cluster: "fritz", Host: "f1"}}
}

// Version 1 stays readable.
func TestGoldenVersion1(t *testing.T) {
	got, err := os.ReadFile(filepath.Join("testdata", "v1", "example.rsb"))
	ok(t, err)
	checkGolden(t, got)
}

func checkGolden(t *testing.T, got []byte) {
	t.Helper()
	fsys := withFile(t, got)
	if l := reopen(t, fsys, goldenHosts()); l.hosts+l.series+l.blocks+len(l.damage) > 0 {
		t.Errorf("lost %+v", l)
	}
	s, err := Verify(t.Context(), fsys, path, nil)
	ok(t, err)
	if s.Hosts != 3 || s.Series != 6 || s.Blocks != 4 || s.Values != 14 || len(s.Damage) > 0 {
		t.Errorf("got %+v", s)
	}
}

// Version 2 stays readable.
func TestGoldenVersion2(t *testing.T) {
	got, err := os.ReadFile(filepath.Join("testdata", "v2", "example.rsb"))
	ok(t, err)
	checkGolden(t, got)
}

// Version 3 stays readable and is written as before. A failure means that the format has changed; a
// new version gets a directory of its own.
func TestGolden(t *testing.T) {
	golden := filepath.Join("testdata", "v3", "example.rsb")
	want := write(t, goldenHosts()...)
	if *update {
		ok(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		ok(t, os.WriteFile(golden, want, 0o644))
	}
	got, err := os.ReadFile(golden)
	ok(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("the file has\n%x, the writer makes\n%x", got, want)
	}
	checkGolden(t, got)
}
