// Package prefetch tells the processor what memory will be read soon, so that it
// is at hand then. A load would fetch it too, but nothing that comes after a load
// can be finished before it has arrived.
package prefetch

import "unsafe"

// Line asks for the line of the processor's cache that *p begins in. It is a hint:
// it reads nothing, and p may point to nothing.
func Line[T any](p *T) { line(unsafe.Pointer(p)) }
