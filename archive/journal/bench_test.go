package journal

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/ringstore/ringstore/archive/disk"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// BenchmarkAppend appends records of 4 KiB to a real directory.
func BenchmarkAppend(b *testing.B) {
	record := randomBytes(4 << 10)
	for _, m := range modes {
		for _, writers := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/writers=%d", m.name, writers), func(b *testing.B) {
				j := open(b, Options{Dir: b.TempDir(), Sync: m.mode})
				b.SetBytes(int64(len(record)))
				b.ReportAllocs()
				var wg sync.WaitGroup
				for w := range writers {
					wg.Go(func() {
						for range share(b.N, writers, w) {
							if err := j.Append(b.Context(), record); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.StopTimer()
				ok(b, j.Close())
			})
		}
	}
}

// share returns how many of n records writer w gets.
func share(n, writers, w int) int { return (n + w) / writers }

// BenchmarkRead reads records of 4 KiB.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	j := open(b, Options{Dir: dir, Sync: Off})
	record := randomBytes(4 << 10)
	for range 16 << 10 {
		ok(b, j.Append(b.Context(), record))
	}
	ok(b, j.Close())
	b.SetBytes(64 << 20)
	for b.Loop() {
		_, err := Read(b.Context(), disk.OS{}, dir, Lineage{}, 0, func(uint64, int64, []byte) error { return nil })
		ok(b, err)
	}
}
