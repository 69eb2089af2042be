package prefetch

import "testing"

// A hint changes nothing, wherever it points.
func TestLine(t *testing.T) {
	x := [3]int{1, 2, 3}
	for i := range x {
		Line(&x[i])
	}
	Line[int](nil)
	if x != [3]int{1, 2, 3} {
		t.Error(x)
	}
}
