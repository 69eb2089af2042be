//go:build unix

package prefetch

import (
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"
)

var sink byte

// Line faults at no address, not even where a read does, and changes nothing.
func TestLineNeverFaults(t *testing.T) {
	page, err := syscall.Mmap(-1, 0, syscall.Getpagesize(), syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	unreadable := unsafe.Pointer(unsafe.SliceData(page))
	t.Cleanup(func() {
		if err := syscall.Munmap(page); err != nil {
			t.Error(err)
		}
	})
	f := func(name string, p unsafe.Pointer) {
		t.Run(name, func(t *testing.T) {
			if !faults(func() { sink = *(*byte)(p) }) {
				t.Fatal("the address is readable, so the test shows nothing")
			}
			if faults(func() { Line((*byte)(p)) }) {
				t.Error("Line faults")
			}
		})
	}
	f("nil", nil)
	f("a page without access", unreadable)
	f("the end of the address space", pointer(^uintptr(63)))
	f("not canonical", pointer(1<<62))

	values := [3]int{1, 2, 3}
	for i := range values {
		Line(&values[i])
	}
	if values != [3]int{1, 2, 3} {
		t.Errorf("values changed: %v", values)
	}
}

// pointer returns a pointer to any address, which the compiler's checks would refuse.
func pointer(address uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&address)) }

// faults reports whether f accesses memory that it must not.
func faults(f func()) (faulted bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { faulted = recover() != nil }()
	f()
	return false
}
