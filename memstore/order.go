package memstore

import (
	"math/bits"
	"sync"
)

// stripes are locks that give the batches of a host one order, from their application to their
// place in the journal. Each host has one of them. A batch holds those of all its hosts, which it
// locks in ascending order.
type stripes [stripeCount]sync.Mutex

const stripeCount = 1024

// stripeSet says which stripes a batch needs.
type stripeSet [stripeCount / 64]uint64

func stripesOf(batch []Sample) (set stripeSet) {
	var before *lane
	for i := range batch {
		if l := batch[i].Series.lane; l != before {
			n := l.host.stripe
			set[n/64] |= 1 << (n % 64)
			before = l
		}
	}
	return set
}

func (s *stripes) lock(set *stripeSet) {
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			s[i*64+bits.TrailingZeros64(word)].Lock()
		}
	}
}

func (s *stripes) unlock(set *stripeSet) {
	for i, word := range set {
		for ; word != 0; word &= word - 1 {
			s[i*64+bits.TrailingZeros64(word)].Unlock()
		}
	}
}
