package archive

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Cleanup moves the days that have left the retention completely from the block files to
// Options.Parquet, and removes files that are no longer needed. With unfinished it also moves the
// part of the current day that has left the retention. One cleanup runs at a time. An interrupted
// cleanup is continued by the next.
//
// No sample older than what was moved can be written any more. The end of a Parquet file's time
// range, stored as its source, therefore says completely what has been moved.
func (a *Archive) Cleanup(ctx context.Context, unfinished bool) error {
	a.cleanupMu.Lock()
	defer a.cleanupMu.Unlock()
	begin := time.Now()
	moved, err := a.cleanup(ctx, unfinished)
	a.cleanups.add(begin, moved, err)
	return err
}

// cleanup returns how many bytes of Parquet files it wrote.
func (a *Archive) cleanup(ctx context.Context, unfinished bool) (moved int64, err error) {
	if a.Parquet != nil {
		limit := a.Now().Add(-a.Store.Retention()).Unix()
		for _, cluster := range a.clusters() {
			n, err := a.moveCluster(ctx, cluster, limit, unfinished)
			moved += n
			if err != nil {
				return moved, fmt.Errorf("archiving cluster %s: %w", cluster, err)
			}
		}
	}
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	return moved, a.removeBlocks()
}

func (a *Archive) clusters() []string {
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	names := make(map[string]struct{})
	for f := range a.catalog.files {
		names[f.cluster] = struct{}{}
	}
	return slices.Sorted(maps.Keys(names))
}

// moveCluster moves the days of a cluster that end at or before limit (Unix seconds), and with
// unfinished the day in which limit lies, up to limit. It returns how many bytes it wrote.
func (a *Archive) moveCluster(ctx context.Context, cluster string, limit int64, unfinished bool) (moved int64, err error) {
	if err := a.Parquet.Clean(ctx, cluster); err != nil {
		return 0, err
	}
	begin, ok := a.oldestUnmoved(cluster)
	for ; ok && begin < limit; begin, ok = a.oldestUnmoved(cluster) {
		day := parquet.DayOf(begin)
		end := (int64(day) + 1) * unixtime.SecondsPerDay
		if end > limit && !unfinished {
			return moved, nil
		}
		n, err := a.moveDay(ctx, cluster, day, min(end, limit))
		moved += n
		if err != nil {
			return moved, err
		}
		a.checkpointMu.Lock()
		a.movedUntil[cluster] = min(end, limit)
		a.checkpointMu.Unlock()
	}
	return moved, nil
}

// earliest returns a lower bound for the times of an entry's samples, in Unix milliseconds: the
// samples of a series may be half a slot ahead of the grid.
func (e *entry) earliest() int64 { return e.begin - e.lane.frequency/2 }

// oldestUnmoved returns the start of a cluster's oldest data that has not been moved, in Unix
// seconds.
func (a *Archive) oldestUnmoved(cluster string) (begin int64, ok bool) {
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	begin = math.MaxInt64
	for lane, entries := range a.catalog.lanes {
		if lane.cluster != cluster {
			continue
		}
		for _, e := range entries {
			if from := max(unixtime.FloorDiv(e.earliest(), 1000), a.movedUntil[cluster]); !e.freed && from < unixtime.FloorDiv(e.end, 1000) {
				begin = min(begin, from)
			}
		}
	}
	return begin, begin < math.MaxInt64
}

// moveDay writes a day's samples between the last move and until (Unix seconds) to a Parquet file,
// and returns its size in bytes.
func (a *Archive) moveDay(ctx context.Context, cluster string, day parquet.Day, until int64) (int64, error) {
	files, err := a.Parquet.Files(ctx, cluster, day)
	if err != nil {
		return 0, err
	}
	from := int64(day) * unixtime.SecondsPerDay
	for _, f := range files {
		if moved, ok := parseSource(f.Source); ok {
			from = max(from, moved)
		}
	}
	source := sourceUntil(until)
	if from >= until { // an earlier run was interrupted before it removed what it had moved
		_, err := a.Parquet.Has(ctx, cluster, day, source)
		return 0, err
	}
	begin := time.Now()
	r := dayReader{
		archive: a,
		from:    from * 1000,
		until:   until * 1000,
		hosts:   a.entriesOf(cluster, from*1000, until*1000),
		reader:  newBlockReader(a.FS, &a.marks),
	}
	defer r.close()
	written, err := a.Parquet.Write(ctx, cluster, day, source, r.columns(ctx))
	if err != nil {
		return 0, err
	}
	a.Logger.Info("samples archived", "cluster", cluster, "day", day, "file", written.Name, "rows", written.Rows, "bytes", written.Bytes, "took", time.Since(begin))
	return written.Bytes, nil
}

func sourceUntil(until int64) string { return fmt.Sprintf("until %d", until) }

func parseSource(source string) (until int64, ok bool) {
	n, err := fmt.Sscanf(source, "until %d", &until)
	return until, n == 1 && err == nil
}

// entriesOf returns the blocks of a cluster that may hold samples of a time range (Unix
// milliseconds), by host.
func (a *Archive) entriesOf(cluster string, from, until int64) map[string][]*entry {
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	hosts := make(map[string][]*entry)
	for lane, entries := range a.catalog.lanes {
		if lane.cluster != cluster {
			continue
		}
		for _, e := range entries {
			if !e.freed && e.earliest() < until && from < e.end {
				hosts[lane.host] = append(hosts[lane.host], e)
			}
		}
	}
	return hosts
}

// dayReader reads the columns of a Parquet file from blocks.
type dayReader struct {
	archive     *Archive
	from, until int64 // Unix milliseconds
	hosts       map[string][]*entry
	reader      *blockReader
	decoder     codec.Decoder
	values      []float64
}

func (r *dayReader) close() { r.reader.close() }

// columns yields the columns of all hosts in the archive's order. It keeps the blocks of one host
// in memory.
func (r *dayReader) columns(ctx context.Context) iter.Seq2[parquet.Column, error] {
	return func(yield func(parquet.Column, error) bool) {
		for _, host := range slices.Sorted(maps.Keys(r.hosts)) {
			pieces, err := r.pieces(host)
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(parquet.Column{}, err)
				return
			}
			for len(pieces) > 0 {
				n := 1
				for n < len(pieces) && pieces[n].compareSeries(pieces[0]) == 0 {
					n++
				}
				if !r.yieldSeries(pieces[:n], yield) {
					return
				}
				pieces = pieces[n:]
			}
		}
	}
}

// piece is a column of a block.
type piece struct {
	parquet.Column // without Times and Values
	block          *block.Block
	index          int
	offset         int64
}

func (p piece) compareSeries(o piece) int { return p.Column.Compare(o.Column) }

// pieces returns the columns of a host's blocks, sorted by series and time.
func (r *dayReader) pieces(host string) ([]piece, error) {
	var all []piece
	for _, e := range r.hosts[host] {
		state, err := r.reader.read(e)
		if _, damaged := errors.AsType[*disk.DamageError](err); damaged && !errors.Is(err, syscall.EIO) {
			r.archive.Logger.Error("a damaged block is not archived", "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		l := state.Lanes[0]
		byColumn := make(map[uint32]memstore.SeriesState, len(l.Series))
		for _, s := range l.Series {
			byColumn[s.Column] = s
		}
		if len(l.Windows) == 0 { // everything was freed
			continue
		}
		b := l.Windows[0].Block
		for i := range b.Columns() {
			s, ok := byColumn[b.ID(i)]
			if !ok {
				continue
			}
			scope, id := parquet.Scope(s.Device)
			all = append(all, piece{
				Column: parquet.Column{Host: host, Metric: s.Metric, Scope: scope, ScopeID: id, Frequency: b.Frequency / 1000},
				block:  b, index: i, offset: s.Offset,
			})
		}
	}
	slices.SortStableFunc(all, func(a, b piece) int {
		if c := a.compareSeries(b); c != 0 {
			return c
		}
		return int(min(max(a.begin()-b.begin(), -1), 1))
	})
	return all, nil
}

// begin returns the time of the first slot, in Unix milliseconds.
func (p piece) begin() int64 { return p.block.Grid + p.block.First*p.block.Frequency + p.offset }

// yieldSeries yields the samples of one series that are in the reader's time range.
func (r *dayReader) yieldSeries(pieces []piece, yield func(parquet.Column, error) bool) bool {
	last := int64(math.MinInt64)
	for _, p := range pieces {
		r.values = slices.Grow(r.values[:0], p.block.Slots)[:p.block.Slots]
		if err := p.block.Decode(&r.decoder, r.values, p.index, 0); err != nil {
			return yield(parquet.Column{}, err)
		}
		c := p.Column
		for i, v := range r.values {
			t := p.begin() + int64(i)*p.block.Frequency
			if v == v && t >= r.from && t < r.until && t > last {
				c.Times, c.Values = append(c.Times, unixtime.FloorDiv(t, 1000)), append(c.Values, v)
				last = t
			}
		}
		if len(c.Times) > 0 && !yield(c, nil) {
			return false
		}
	}
	return true
}
