// Package prefetch asks the processor to load memory into its cache before it is read. Unlike a
// read, a prefetch does not hold up the instructions after it until the memory has arrived.
package prefetch

import "unsafe"

// Line prefetches the cache line that *p begins in. It is a hint: it reads nothing, never faults,
// and p may be any address.
func Line[T any](p *T) { line(unsafe.Pointer(p)) }
