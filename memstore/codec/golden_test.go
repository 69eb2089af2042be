package codec

import (
	"bytes"
	"encoding/hex"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden file anew")

var goldenFile = filepath.Join("testdata", "columns.golden")

// Columns of older versions stay readable, and the encoder still writes the same bytes. If the
// encoder has improved, run with -update and check the difference. If the decoder fails on the old
// file, the format is broken.
func TestGolden(t *testing.T) {
	var now bytes.Buffer
	decoded := map[string][]float64{}
	every(func(name string, values []float64, encoded []byte) {
		fmt.Fprintf(&now, "%s: %s\n", name, hex.EncodeToString(encoded))
		decoded[name] = values
	})
	if *update {
		if err := os.WriteFile(goldenFile, now.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenFile)
	if err != nil {
		t.Fatal(err)
	}
	var d Decoder
	for line := range strings.Lines(string(golden)) {
		name, digits, _ := strings.Cut(strings.TrimSpace(line), ": ")
		encoded, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		want := decoded[name]
		got := make([]float64, len(want))
		if tail, err := d.Decode(got, encoded); err != nil || len(tail) > 0 {
			t.Errorf("%s: %v, %d bytes left", name, err, len(tail))
		}
		for i := range want {
			if math.Float64bits(got[i]) != math.Float64bits(want[i]) {
				t.Fatalf("%s: value %d is %v, want %v", name, i, got[i], want[i])
			}
		}
	}
	if !bytes.Equal(golden, now.Bytes()) {
		t.Errorf("the encoder writes other bytes than in %s", goldenFile)
	}
}

// The golden columns use every form and every bit of the tag.
func TestGoldenCoversTheFormat(t *testing.T) {
	seen := map[string]bool{}
	var c column
	var d Decoder
	every(func(_ string, values []float64, encoded []byte) {
		var err error
		if c, err = d.open(encoded, len(values)); err != nil {
			t.Fatal(err)
		}
		form := encoded[0] & formMask
		seen[fmt.Sprintf("form %d", form)] = true
		for bit := byte(tagNulls); bit > 0; bit <<= 1 {
			if form > formConstant && encoded[0]&bit != 0 {
				seen[fmt.Sprintf("tag %#x", bit)] = true
			}
		}
		switch form {
		case formConstant:
			seen[fmt.Sprintf("constant %#x", encoded[0]&constantKind)] = true
		case formDecimal:
			seen[fmt.Sprintf("step %v", c.decimal.step > 1)] = true
		case formPattern:
			seen[fmt.Sprintf("sign %d", c.pattern.sign)] = true
			seen[fmt.Sprintf("shift %v", c.pattern.shift > 0)] = true
			seen[fmt.Sprintf("coarse %v", c.model.coarse > 0)] = true
		}
		if form == formDecimal || form == formPattern || form == formDictionary {
			if _, err := c.integers(&d, c.samples); err != nil {
				t.Fatal(err)
			}
			switch code := d.code; {
			case code.geometric:
				seen["geometric code"] = true
			case code.single():
				seen["code of one rung"] = true
			default:
				seen["own code"] = true
			}
		}
	})
	for _, want := range []string{
		"form 0", "form 1", "form 2", "form 3", "form 4", "form 5",
		"tag 0x8", "tag 0x10", "tag 0x20", "tag 0x40", "tag 0x80",
		"constant 0x0", "constant 0x20", "constant 0x40", "constant 0x60",
		"step true", "step false", "sign 0", "sign 1", "sign 2", "shift true", "shift false", "coarse true",
		"geometric code", "code of one rung", "own code",
	} {
		if !seen[want] {
			t.Errorf("no golden column has %s", want)
		}
	}
}
