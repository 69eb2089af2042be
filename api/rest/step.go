package rest

import (
	"cmp"
	"iter"

	"github.com/ringstore/ringstore/memstore"
)

// step is an entry of an answer: what is read for it, and its place in the list of its query.
type step struct {
	sel   memstore.Selection
	shape shape
	scale float64

	first        bool // the first step of the answer
	begins, ends bool // the first and the last step of its query
	empty        bool // the query has no selection and thus no entry
}

// steps yields the steps of an answer in order.
func (req *request) steps() iter.Seq[step] {
	return func(yield func(step) bool) {
		first := true
		for q := range req.all() {
			s := step{shape: q.shape(), scale: cmp.Or(q.ScaleBy, 1), first: first, begins: true, empty: true}
			first = false
			for sel := range q.selections(req.Cluster) {
				if !s.empty {
					if !yield(s) {
						return
					}
					s.first, s.begins = false, false
				}
				s.sel, s.empty = sel, false
			}
			s.ends = true
			if !yield(s) {
				return
			}
		}
	}
}
