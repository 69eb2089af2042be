package memstore

import "math"

// Resample is a method to turn several slots into one point of a coarser resolution.
type Resample uint8

// LTTB, largest triangle three buckets (Steinarsson, "Downsampling Time Series for Visual
// Representation", 2013), picks the values that shape the curve. The others summarize the values of
// each point.
const (
	LTTB Resample = iota
	ResampleAverage
	ResampleMax
	ResampleMin
)

// minPoints is the number of values below which nothing is resampled, because a screen shows them
// all.
const minPoints = 1000

// coarser reports whether n values must be resampled by step.
func coarser(n, step int) bool { return step > 1 && n >= minPoints && n/step > 0 }

// apply turns values into about len(values)/step points. A point is NaN only if all its values are.
func (r Resample) apply(values []float64, step int) []float64 {
	if r == LTTB {
		return lttb(values, len(values)/step)
	}
	points := make([]float64, 0, (len(values)+step-1)/step)
	for len(values) > 0 {
		n := min(step, len(values))
		points = append(points, r.point(values[:n]))
		values = values[n:]
	}
	return points
}

func (r Resample) point(bucket []float64) float64 {
	s := summarize(bucket)
	switch r {
	case ResampleMax:
		return s.Max
	case ResampleMin:
		return s.Min
	default:
		return s.Avg
	}
}

// lttb picks n of the values: the first, the last, and of each bucket between them the value that
// spans the largest triangle with the previously picked one and the average of the next bucket.
func lttb(values []float64, n int) []float64 {
	if n < 3 {
		return fewPoints(values, n)
	}
	last := len(values) - 1
	width := float64(last-1) / float64(n-2)
	// As in cc-metric-store, the second to last value belongs to no bucket.
	edge := func(bucket int) int { return min(int(float64(bucket)*width)+1, last-1) }

	points := make([]float64, 0, n)
	points = append(points, values[0])
	picked := point{0, values[0]}
	for i := range n - 2 {
		next := average(values, edge(i+1), edge(i+2)+1)
		best, area := point{0, math.NaN()}, -1.0
		for x := edge(i); x < edge(i+1); x++ {
			p := point{float64(x), values[x]}
			if math.IsNaN(p.y) {
				continue
			}
			if a := triangle(picked, p, next); a > area || math.IsNaN(a) && area < 0 {
				best, area = p, max(a, 0)
			}
		}
		points = append(points, best.y)
		if !math.IsNaN(best.y) {
			picked = best
		}
	}
	return append(points, values[last])
}

// fewPoints returns one or two points, which is too few for triangles.
func fewPoints(values []float64, n int) []float64 {
	if n == 1 {
		return []float64{summarize(values).Avg}
	}
	return []float64{values[0], values[len(values)-1]}
}

type point struct{ x, y float64 }

// triangle returns twice the area of a, b, c; NaN if a or c has no value.
func triangle(a, b, c point) float64 {
	return math.Abs((a.x-c.x)*(b.y-a.y) - (a.x-b.x)*(c.y-a.y))
}

// average returns the mean of the values in [from, to) that are not NaN.
func average(values []float64, from, to int) point {
	var sum point
	var n float64
	for x := from; x < to; x++ {
		if y := values[x]; !math.IsNaN(y) {
			sum.x, sum.y, n = sum.x+float64(x), sum.y+y, n+1
		}
	}
	return point{sum.x / n, sum.y / n}
}
