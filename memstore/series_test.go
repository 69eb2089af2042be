package memstore

import (
	"testing"
	"unsafe"
)

// A series larger than a cache line would make every write slower.
func TestSeriesFitsInACacheLine(t *testing.T) {
	if n := unsafe.Sizeof(Series{}); n != 64 {
		t.Errorf("%d bytes", n)
	}
}
