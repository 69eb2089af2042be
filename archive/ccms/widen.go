package ccms

import (
	"math"
	"strconv"
)

// widen returns the shortest decimal that rounds to the float32: 60.13 rather than
// 60.130001068115234. It is the value that was sent, if that had at most six digits, and it
// compresses better.
func widen(v float32) float64 {
	wide := float64(v)
	if !(math.Abs(wide) < 1<<24) { // large, infinite or NaN
		return shortest(v)
	}
	if wide == math.Trunc(wide) {
		return wide
	}
	for scale := 10.0; scale <= 1e4; scale *= 10 { // avoids strconv, which is slow, for most values
		if d := math.Round(wide*scale) / scale; float32(d) == v {
			return d
		}
	}
	return shortest(v)
}

func shortest(v float32) float64 {
	var digits [32]byte
	d, err := strconv.ParseFloat(string(strconv.AppendFloat(digits[:0], float64(v), 'g', -1, 32)), 64)
	if err != nil {
		return float64(v)
	}
	return d
}
