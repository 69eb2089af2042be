package memstore

import "sync"

// spareRows keeps the rows of sealed windows for reuse. Hosts seal at different times, so one host
// uses the rows of another. Without it, rows are most of the garbage that writes make. The zero
// value is ready to use.
type spareRows struct {
	mu    sync.Mutex
	rows  map[int][][]float64 // by length
	bytes int
}

// maxSpareBytes bounds the memory of the rows that are kept.
const maxSpareBytes = 4 << 20

// get returns a row of n values, which are undefined.
func (s *spareRows) get(n int) []float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	same := s.rows[n]
	if len(same) == 0 {
		return make([]float64, n)
	}
	row := same[len(same)-1]
	same[len(same)-1] = nil
	s.rows[n] = same[:len(same)-1]
	s.bytes -= 8 * n
	return row
}

// put accepts rows that no one uses any more.
func (s *spareRows) put(rows [][]float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rows == nil {
		s.rows = make(map[int][][]float64)
	}
	for _, row := range rows {
		if len(row) == 0 {
			continue
		}
		if s.bytes+8*len(row) > maxSpareBytes {
			if len(s.rows[len(row)]) > 0 {
				return
			}
			clear(s.rows) // rows of these lengths are no longer requested
			s.bytes = 0
		}
		s.rows[len(row)] = append(s.rows[len(row)], row)
		s.bytes += 8 * len(row)
	}
}
