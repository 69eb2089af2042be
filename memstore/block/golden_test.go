package block_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore/block"
)

var update = flag.Bool("update", false, "write the golden blocks anew")

// goldens returns the contents of the golden blocks by file name.
func goldens() map[string]window {
	column := func(slots int, f func(i int) float64) []float64 {
		values := make([]float64, slots)
		for i := range values {
			values[i] = f(i)
		}
		return values
	}
	all := map[string]window{
		"example": {
			block.Header{Frequency: 60_000, Grid: 17_000, First: 100, Slots: 3},
			[]block.Column{{ID: 0}, {ID: 2, Offset: -5000}},
			[][]float64{{1, 1, 1}, {95.01, nan, 95.03}},
			nil,
		},
		"one": {block.Header{Frequency: 1000, Slots: 1}, []block.Column{{}}, [][]float64{{0}}, nil},
		"limits": {
			block.Header{Frequency: 86_400_000, Grid: 86_399_999, First: -12, Slots: 2, Generation: 255},
			[]block.Column{{ID: 0, Offset: -43_200_000}, {ID: block.MaxColumns - 1, Offset: 43_199_999}},
			[][]float64{{math.Inf(-1), math.Copysign(0, -1)}, {5e-324, math.MaxFloat64}},
			nil,
		},
	}
	for _, k := range []struct {
		name           string
		generation     uint8
		dense, offsets bool
	}{
		{"dense", 0, true, false},
		{"sparse", 0, false, false},
		{"dense with offsets", 0, true, true},
		{"merged", 1, true, false},
		{"merged sparse with offsets", 2, false, true},
	} {
		const slots = 40
		w := window{head: minute(slots)}
		w.head.Generation = k.generation
		r := rand.New(rand.NewPCG(11, 11))
		walk := 9500.0
		for i, f := range []func(i int) float64{
			func(int) float64 { return 2400 },
			func(int) float64 { walk += math.Round(r.NormFloat64() * 50); return walk / 100 },
			func(int) float64 { return 1100.3 * (1 + 0.1*r.Float64()) },
			func(i int) float64 { return []float64{1, nan, 0.5}[i*i%3] },
			func(i int) float64 { return []float64{math.Pi, math.E, math.Sqrt2}[i*i%7%3] },
			func(int) float64 { return math.Float64frombits(r.Uint64() &^ (1 << 62)) },
		} {
			c := block.Column{ID: uint32(i)}
			if !k.dense {
				c.ID = uint32(i*i + 1)
			}
			if k.offsets {
				c.Offset = int64(i*i*997) - 10_000
			}
			w.columns, w.values = append(w.columns, c), append(w.values, column(slots, f))
		}
		all[k.name] = w
	}
	aggregates := all["dense"]
	aggregates.sets = [][]uint32{{0, 1}, {0, 1, 2, 4}, {1, 2}}
	all["aggregates"] = aggregates
	aggregates = all["merged sparse with offsets"]
	aggregates.sets = [][]uint32{{1, 2, 5, 17}, {2, 5}}
	all["merged aggregates"] = aggregates
	return all
}

// Blocks of version 1 stay readable, and the builder still writes the same bytes. If the encoder
// has improved, run with -update and check the difference. If a file is unreadable, the format is
// broken. A new version gets a new directory.
func TestGolden(t *testing.T) {
	all := goldens()
	dir := filepath.Join("testdata", "v1")
	if *update {
		for name, w := range all {
			if err := os.WriteFile(filepath.Join(dir, name+".block"), w.build(new(block.Builder)).Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.block"))
	if err != nil || len(files) != len(all) {
		t.Fatalf("%d golden files, want %d; %v", len(files), len(all), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".block")
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b, err := block.Open(data)
			if err != nil {
				t.Fatal(err)
			}
			checkWindow(t, b, all[name])
			if !bytes.Equal(all[name].build(new(block.Builder)).Bytes(), data) {
				t.Error("the builder writes other bytes than those in the file")
			}
		})
	}
}

// The builder makes the example of ../FORMAT.md.
func TestExampleOfTheFormat(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "FORMAT.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "## An example")
	var drawn []byte
	for line := range strings.Lines(example) {
		bytes, _, _ := strings.Cut(strings.TrimPrefix(line, "    "), "  ")
		if field, err := hex.DecodeString(strings.ReplaceAll(bytes, " ", "")); strings.HasPrefix(line, "    ") && err == nil {
			drawn = append(drawn, field...)
		}
	}
	if built := goldens()["example"].build(new(block.Builder)).Bytes(); !slices.Equal(drawn, built) {
		t.Errorf("the builder makes\n%x, FORMAT.md has\n%x", built, drawn)
	}
}
