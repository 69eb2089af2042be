package main

import (
	"bytes"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// TestMaterials checks that the bill names the program by its checksum, and the standard library and
// each linked module once, by package URL; and that a program always has the same bill.
func TestMaterials(t *testing.T) {
	r := release{version: "1.2.3+4.gabc", epoch: time.Unix(1_700_000_000, 0).UTC()}
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Path: "github.com/ringstore/ringstore", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "github.com/nats-io/nats.go", Version: "v1.55.0"},
			{Path: "example.org/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.org/fork/v2", Version: "v2.0.0+incompatible"}},
		},
	}
	encode := func() (text []byte) {
		var b bytes.Buffer
		if err := cdx.NewBOMEncoder(&b, cdx.BOMFileFormatJSON).Encode(r.materials(info, strings.Repeat("ab", 32))); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	text := encode()
	if !bytes.Equal(text, encode()) {
		t.Error("two bills of the same program differ")
	}
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	program := bom.Metadata.Component
	if program.PackageURL != "pkg:golang/github.com/ringstore/ringstore@1.2.3%2B4.gabc" || (*program.Hashes)[0].Value != strings.Repeat("ab", 32) ||
		bom.Metadata.Timestamp != "2023-11-14T22:13:20Z" {
		t.Errorf("the program: %+v, %s", program, bom.Metadata.Timestamp)
	}
	var purls []string
	for _, c := range *bom.Components {
		purls = append(purls, c.PackageURL)
	}
	want := []string{
		"pkg:golang/std@1.26.8", "pkg:golang/github.com/nats-io/nats.go@v1.55.0", "pkg:golang/example.org/fork/v2@v2.0.0%2Bincompatible",
	}
	if !slices.Equal(purls, want) || !slices.Equal(*(*bom.Dependencies)[0].Dependencies, want) {
		t.Errorf("components %q, dependencies %q, want %q", purls, *(*bom.Dependencies)[0].Dependencies, want)
	}
}
