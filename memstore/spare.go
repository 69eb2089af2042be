package memstore

import "sync"

// spareRows keeps rows of sealed windows for the next ones: hosts seal at
// different times, so that what one gives back the others take. Without it they
// are most of the garbage that writes make. The zero value is ready.
type spareRows struct {
	mu    sync.Mutex
	rows  map[int][][]float64 // by length
	bytes int
}

// mostSpare bounds what is kept, in bytes.
const mostSpare = 4 << 20

// get returns a row that holds anything.
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

// put takes rows that nobody reads or writes any more.
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
		if s.bytes+8*len(row) > mostSpare {
			if len(s.rows[len(row)]) > 0 {
				return
			}
			clear(s.rows) // nobody asks for their lengths any more
			s.bytes = 0
		}
		s.rows[len(row)] = append(s.rows[len(row)], row)
		s.bytes += 8 * len(row)
	}
}
