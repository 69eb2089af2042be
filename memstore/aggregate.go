package memstore

import (
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/block"
)

// Several series of a metric are added in the order of their devices, whatever the order in which a
// query names them. Blocks keep the sums of the sets that queries usually ask for, so both ways to
// answer must add in the same order to give the same bits.

// columnSet is a set of columns of a lane whose sums are kept in blocks.
type columnSet struct {
	key     block.Set
	columns []uint32 // in the order in which they are added
	highest uint32   // of columns
}

func newColumnSet(series []*Series) columnSet {
	c := columnSet{columns: make([]uint32, len(series))}
	for i, sr := range series {
		c.columns[i] = sr.column
	}
	c.key, _ = setOf(nil, slices.Clone(c.columns))
	c.highest = slices.Max(c.columns)
	return c
}

// setOf appends the set of some columns, which it sorts, to dst. It returns false if there are less
// than two of them, or if one occurs twice.
func setOf(dst block.Set, columns []uint32) (block.Set, bool) {
	if len(columns) < 2 {
		return dst, false
	}
	if !slices.IsSorted(columns) {
		slices.Sort(columns)
	}
	for i := 1; i < len(columns); i++ {
		if columns[i] == columns[i-1] {
			return dst, false
		}
	}
	return block.AppendSet(dst, columns), true
}

// columnSets returns the sets of columns of a lane whose sums its blocks keep: for each metric with
// an aggregation all series below the host, below each type, and below each device; and those that
// were learned. The host is locked.
func (l *lane) columnSets() []columnSet {
	if !l.hasSets {
		l.findLevels()
	}
	return l.appendLearned(slices.Clip(l.sets))
}

// findLevels sets l.sets to the sets of whole levels.
func (l *lane) findLevels() {
	l.hasSets, l.sets, l.levels = true, nil, make(map[string]int)
	add := func(series []*Series) {
		if len(series) < 2 {
			return
		}
		if c := newColumnSet(series); !l.isLevel(string(c.key)) {
			l.levels[string(c.key)] = len(l.sets)
			l.sets = append(l.sets, c)
		}
	}
	for _, series := range l.byMetric() {
		addLevels(series, add)
	}
}

func (l *lane) isLevel(key string) bool {
	_, ok := l.levels[key]
	return ok
}

// byMetric returns the series of each metric with an aggregation, ordered by device.
func (l *lane) byMetric() [][]*Series {
	var all [][]*Series
	index := make(map[*metric]int)
	for _, sr := range l.columns {
		if sr == nil || sr.metric.Aggregation == AggregateNone {
			continue
		}
		i, ok := index[sr.metric]
		if !ok {
			i = len(all)
			index[sr.metric], all = i, append(all, nil)
		}
		all[i] = append(all[i], sr)
	}
	for _, series := range all {
		sortByDevice(series)
	}
	return all
}

// sortByDevice sorts series in the order in which they are added.
func sortByDevice(series []*Series) {
	byDevice := func(a, b *Series) int { return a.level.device.compare(b.level.device) }
	if !slices.IsSortedFunc(series, byDevice) {
		slices.SortFunc(series, byDevice)
	}
}

// addLevels calls add for the series below each level, given all series of one metric in the order of
// their devices.
func addLevels(series []*Series, add func([]*Series)) {
	if series[0].level.device == (Device{}) {
		series = series[1:]
	} else {
		add(topmostOf(series))
	}
	group := func(sameGroup func(a, b Device) bool) {
		for rest := series; len(rest) > 0; {
			n := equal(rest, func(a, b *Series) bool { return sameGroup(a.level.device, b.level.device) })
			add(topmostOf(rest[:n]))
			rest = rest[n:]
		}
	}
	group(func(a, b Device) bool { return a.Type == b.Type && (a.Type != "" || a.Subtype == b.Subtype) })
	group(func(a, b Device) bool { return a.Type != "" && a.Type == b.Type && a.TypeID == b.TypeID })
}

// topmostOf returns the series without those of parts of a device that has its own.
func topmostOf(series []*Series) []*Series {
	var top []*Series
	for i, sr := range series {
		d := sr.level.device
		if n := len(top); i > 0 && d.Type != "" && d.Subtype != "" {
			if o := top[n-1].level.device; o.Type == d.Type && o.TypeID == d.TypeID && o.Subtype == "" {
				continue
			}
		}
		top = append(top, sr)
	}
	return top
}

// equal returns how many of the first elements are the same as the first one.
func equal(series []*Series, same func(a, b *Series) bool) int {
	n := 1
	for n < len(series) && same(series[0], series[n]) {
		n++
	}
	return n
}

// sumRows adds the columns of each set, row by row: sum k of row i goes to sums[k*len(rows)+i]. It
// returns for which sets all columns have values in the same rows; the sums of other sets are
// undefined.
func sumRows(sums []float64, rows [][]float64, sets []columnSet, exact []bool) []bool {
	exact = exact[:0]
	for range sets {
		exact = append(exact, true)
	}
	for i := 0; i < len(rows); i += 4 {
		few := rows[i:min(i+4, len(rows))]
		for k := range sets {
			if !exact[k] {
				continue
			}
			dst := sums[k*len(rows)+i:][:len(few)]
			sets[k].sum(dst, few)
			for r, v := range dst {
				if v != v && presentIn(few[r], sets[k].columns) > 0 {
					exact[k] = false
				}
			}
		}
	}
	return exact
}

// sum adds the columns of up to four rows; a sum is NaN if one of them has no value.
func (c *columnSet) sum(dst []float64, rows [][]float64) {
	if len(rows) == 4 && int(c.highest) < min(len(rows[0]), len(rows[1]), len(rows[2]), len(rows[3])) {
		sumFour((*[4]float64)(dst), rows, c.columns)
		return
	}
	for i, row := range rows {
		dst[i] = sumRow(row, c.columns)
	}
}

// sumFour adds the columns of four rows at once, because each addition waits for the one before it.
func sumFour(dst *[4]float64, rows [][]float64, columns []uint32) {
	a, b, c, d := rows[0], rows[1], rows[2], rows[3]
	b, c, d = b[:len(b):len(b)], c[:len(c):len(c)], d[:len(d):len(d)]
	var s0, s1, s2, s3 float64
	for _, i := range columns {
		s0 += a[i]
		s1 += b[i]
		s2 += c[i]
		s3 += d[i]
	}
	dst[0], dst[1], dst[2], dst[3] = s0, s1, s2, s3
}

// sumRow adds the columns of a row; NaN if one of them has no value.
func sumRow(row []float64, columns []uint32) float64 {
	s := 0.0
	for _, i := range columns {
		if int(i) >= len(row) {
			return math.NaN()
		}
		s += row[i]
	}
	return s
}

// presentIn returns how many of the columns have a value in a row.
func presentIn(row []float64, columns []uint32) (n int) {
	for _, i := range columns {
		if int(i) < len(row) && row[i] == row[i] {
			n++
		}
	}
	return n
}

// aggregate adds the aggregates of closed rows to the block that is being built.
func (w *sealer) aggregate(rows [][]float64, sets []columnSet) {
	n := len(sets) * len(rows)
	w.sums = slices.Grow(w.sums[:0], n)[:n]
	w.exact = sumRows(w.sums, rows, sets, w.exact)
	for k, exact := range w.exact {
		if exact {
			w.builder.AddAggregate(sets[k].key, w.sums[k*len(rows):][:len(rows)])
		}
	}
}

// mergeAggregates adds the aggregates of some sets, and of all sets that the merged blocks have, to
// the block that is being built.
func (w *sealer) mergeAggregates(head block.Header, blocks []*block.Block, sets []columnSet) {
	known := make(map[string]bool, len(sets))
	for _, c := range sets {
		known[string(c.key)] = true
		w.mergeAggregate(head, blocks, c)
	}
	for _, b := range blocks {
		for i := range b.Aggregates() {
			if a, err := b.Aggregate(i); err == nil && !known[string(a.Set)] {
				known[string(a.Set)] = true
				w.mergeAggregate(head, blocks, columnSet{key: a.Set})
			}
		}
	}
}

// mergeAggregate adds the aggregate of a set unless a block has other values than it needs, or lacks
// it while the order of the columns is unknown.
func (w *sealer) mergeAggregate(head block.Header, blocks []*block.Block, c columnSet) {
	end := 0 // w.all is filled up to here
	for _, b := range blocks {
		at := int(b.First - head.First)
		fillNaN(w.all[end:at])
		end = at + b.Slots
		if !w.aggregateOf(w.all[at:end], b, c) {
			return
		}
	}
	fillNaN(w.all[end:])
	w.builder.AddAggregate(c.key, w.all)
}

// aggregateOf sets dst to the aggregate of a set in a block. It returns false if there is none.
func (w *sealer) aggregateOf(dst []float64, b *block.Block, c columnSet) bool {
	if a, ok := b.FindAggregate(c.key); ok {
		return b.DecodeAggregate(&w.decoder, dst, a, 0) == nil
	}
	columns := c.columns
	if columns == nil {
		columns = c.key.Numbers()
	}
	found := 0
	for _, id := range columns {
		if _, ok := b.Find(id); ok {
			found++
		}
	}
	if found == 0 {
		fillNaN(dst)
		return true
	}
	return found == len(columns) && c.columns != nil && w.sumColumns(dst, b, columns)
}

// sumColumns sets dst to the sum of columns of a block. It returns false if they do not have values in
// the same slots.
func (w *sealer) sumColumns(dst []float64, b *block.Block, columns []uint32) bool {
	clear(dst)
	w.part = slices.Grow(w.part[:0], b.Slots)[:b.Slots]
	w.first = slices.Grow(w.first[:0], b.Slots)[:b.Slots]
	for n, id := range columns {
		i, _ := b.Find(id)
		if b.Decode(&w.decoder, w.part, i, 0) != nil {
			return false
		}
		if n == 0 {
			copy(w.first, w.part)
		}
		for k, v := range w.part {
			if isValue(v) != isValue(w.first[k]) {
				return false
			}
			dst[k] += v
		}
	}
	for k, v := range dst {
		if isValue(w.first[k]) && !isValue(v) { // the sum of infinities
			return false
		}
	}
	return true
}
