package memstore

import (
	"testing"
	"unsafe"
)

// A series that grows beyond a line of the cache makes every write slower.
func TestASeriesIsOneLineOfTheCache(t *testing.T) {
	if n := unsafe.Sizeof(Series{}); n != 64 {
		t.Errorf("%d bytes", n)
	}
}
