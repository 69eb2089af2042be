package archive

import (
	"cmp"
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
// A day is moved when everything of it is in block files. The time and the run up to which it was
// moved are stored as the source of the Parquet file, and in the marks, which count even if the file
// is gone. What arrives later is in files of later runs, and goes to another Parquet file.
//
// A cluster that cannot be archived does not stop the others. Each error is logged once.
func (a *Archive) Cleanup(ctx context.Context, unfinished bool) error {
	if a.readOnly != nil {
		return a.readOnly
	}
	a.cleanupMu.Lock()
	defer a.cleanupMu.Unlock()
	begin := time.Now()
	moved, err := a.cleanup(ctx, unfinished)
	a.cleanups.add(begin, moved, err)
	return err
}

// cleanup returns how many bytes of Parquet files it wrote.
func (a *Archive) cleanup(ctx context.Context, unfinished bool) (moved int64, err error) {
	var errs []error
	if a.Parquet != nil {
		limit := unixtime.FloorDiv(a.Store.RetainedSince(), 1000)
		errs = append(errs, a.logOnce(ctx, "checkpoint", a.storeUntil(limit, unfinished)))
		for _, cluster := range a.clusters() {
			n, err := a.moveCluster(ctx, cluster, limit, unfinished)
			moved += n
			if err != nil {
				err = fmt.Errorf("archiving cluster %.100s: %w", cluster, err)
			}
			errs = append(errs, a.logOnce(ctx, "cluster "+cluster, err))
		}
	}
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	return moved, errors.Join(append(errs, a.logOnce(ctx, "removal", a.removeBlocks()))...)
}

// logOnce logs an error about something unless the previous one was the same, and returns it.
func (a *Archive) logOnce(ctx context.Context, about string, err error) error {
	switch {
	case err == nil:
		delete(a.logged, about)
	case ctx.Err() == nil && a.logged[about] != err.Error():
		a.logged[about] = err.Error()
		a.Logger.Error("cleanup is incomplete; it is retried after the next checkpoint", "error", err)
	}
	return err
}

// storeUntil writes a checkpoint if samples before limit (Unix seconds) are only in memory or in the
// journal.
func (a *Archive) storeUntil(limit int64, unfinished bool) error {
	a.Store.Seal(limit*1000, unfinished)
	for _, cluster := range a.Store.Clusters() {
		if a.Store.Unstored(cluster) < limit*1000 {
			return a.Checkpoint()
		}
	}
	return nil
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
	for _, day := range a.unmovedDays(cluster, limit) {
		end := (int64(day) + 1) * unixtime.SecondsPerDay
		if end > limit && !unfinished {
			continue
		}
		n, err := a.moveDay(ctx, clusterDay{cluster, day}, min(end, limit), unfinished)
		moved += n
		if err != nil {
			return moved, err
		}
	}
	return moved, nil
}

// earliest returns a lower bound for the times of an entry's samples, in Unix milliseconds: the
// samples of a series may be half a slot ahead of the grid.
func (e *entry) earliest() int64 { return e.begin - e.lane.frequency/2 }

// days iterates over the days of an entry's samples.
func (e *entry) days() iter.Seq[parquet.Day] {
	return func(yield func(parquet.Day) bool) {
		last := parquet.DayOf(unixtime.FloorDiv(e.end-1, 1000))
		for d := parquet.DayOf(unixtime.FloorDiv(e.earliest(), 1000)); d <= last; d++ {
			if !yield(d) {
				return
			}
		}
	}
}

// movedAll reports whether all samples of an entry on a day that are older than limit (Unix seconds)
// are in Parquet files.
func (a *Archive) movedAll(e *entry, day parquet.Day, limit int64) bool {
	moved := a.marks.day(clusterDay{e.lane.cluster, day})
	end := min(limit, (int64(day)+1)*unixtime.SecondsPerDay, unixtime.FloorDiv(e.end+999, 1000))
	return e.file.run <= moved.Run && end <= moved.Until
}

// movedPartly reports whether samples of an entry are in Parquet files.
func (a *Archive) movedPartly(e *entry) bool {
	for day := range e.days() {
		if a.marks.day(clusterDay{e.lane.cluster, day}).holds(e.file.run, e.earliest()) {
			return true
		}
	}
	return false
}

// unmovedDays returns the days of a cluster with data before limit (Unix seconds) that has not been
// moved, in order.
func (a *Archive) unmovedDays(cluster string, limit int64) []parquet.Day {
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	days := make(map[parquet.Day]struct{})
	for lane, entries := range a.catalog.lanes {
		if lane.cluster != cluster {
			continue
		}
		for _, e := range entries {
			if e.freed || e.earliest() >= limit*1000 {
				continue
			}
			for day := range e.days() {
				if _, known := days[day]; !known && int64(day)*unixtime.SecondsPerDay < limit && !a.movedAll(e, day, limit) {
					days[day] = struct{}{}
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(days))
}

// moveDay writes a day's samples before until (Unix seconds) that have not been moved to a Parquet
// file, and returns its size in bytes. If later parts of the day are not in block files yet, it moves
// nothing, or with unfinished what is before them.
func (a *Archive) moveDay(ctx context.Context, at clusterDay, until int64, unfinished bool) (int64, error) {
	files, err := a.Parquet.Files(ctx, at.cluster, at.day)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		if f.Damage != nil {
			_ = a.logOnce(ctx, "file "+f.Name, fmt.Errorf("a file of the archive is left alone: %w", f.Damage))
		}
		if moved, ok := a.parseSource(f.Source); ok {
			a.marks.addArchived(at, moved)
		}
	}
	begin := time.Now()
	r := dayReader{archive: a, from: int64(at.day) * unixtime.SecondsPerDay * 1000, reader: newBlockReader(a.FS, &a.marks)}
	defer r.close()
	moved, ok := r.prepare(at, until, unfinished)
	if !ok {
		return 0, nil
	}
	written, err := a.Parquet.Write(ctx, at.cluster, at.day, source(moved), r.columns(ctx))
	if err != nil {
		return 0, err
	}
	if written.Rows > 0 {
		a.Logger.Info("samples archived", "cluster", at.cluster, "day", at.day, "file", written.Name, "rows", written.Rows, "bytes", written.Bytes, "took", time.Since(begin))
	}
	a.marks.addArchived(at, moved)
	a.checkpointMu.Lock()
	defer a.checkpointMu.Unlock()
	j := a.journal.Load()
	if j == nil {
		return written.Bytes, ErrNotRestored
	}
	return written.Bytes, a.publishManifest(j.Names(), nil, nil)
}

// prepare lists the blocks of a day, and returns what of the day will be archived.
func (r *dayReader) prepare(at clusterDay, until int64, unfinished bool) (moved archivedDay, ok bool) {
	a := r.archive
	a.checkpointMu.Lock() // so that no run lies between the three
	defer a.checkpointMu.Unlock()
	stored := unixtime.FloorDiv(a.Store.Unstored(at.cluster), 1000)
	if stored < until && (!unfinished || stored*1000 <= r.from) {
		return archivedDay{}, false
	}
	until = min(until, stored)
	r.until = until * 1000
	r.moved = a.marks.day(at)
	r.hosts = a.entriesOf(at.cluster, r.from, r.until)
	return archivedDay{until, a.run}, true
}

func source(d archivedDay) string { return fmt.Sprintf("until %d run %d", d.Until, d.Run) }

// parseSource is the inverse of source. Version 0.9.0 wrote no run: everything in files that existed
// at the start counts as archived.
func (a *Archive) parseSource(s string) (d archivedDay, ok bool) {
	if n, err := fmt.Sscanf(s, "until %d run %d", &d.Until, &d.Run); n == 2 && err == nil {
		return d, true
	}
	n, err := fmt.Sscanf(s, "until %d", &d.Until)
	d.Run = a.restoredRun
	return d, n == 1 && err == nil
}

// entriesOf returns the blocks of a cluster that may hold samples of a time range (Unix
// milliseconds), by host. checkpointMu is held.
func (a *Archive) entriesOf(cluster string, from, until int64) map[string][]*entry {
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
	moved       archivedDay
	hosts       map[string][]*entry
	reader      *blockReader
	decoder     codec.Decoder
	values      []float64
	samples     []archivedSample
}

// archivedSample is a sample of a series.
type archivedSample struct {
	slot  slotKey
	time  int64 // Unix milliseconds
	value float64
}

// slotKey identifies a slot of a series.
type slotKey struct {
	frequency int64 // milliseconds
	time      int64 // of the slot, Unix milliseconds
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
	run            uint64
	base           bool // see entry.bases
}

func (p piece) compareSeries(o piece) int { return p.Column.Compare(o.Column) }

// pieces returns the columns of a host's blocks, sorted by series and time.
func (r *dayReader) pieces(host string) ([]piece, error) {
	var all []piece
	entries := r.hosts[host]
	n := len(entries)
	for _, e := range entries {
		entries = append(entries, e.bases...)
	}
	for k, e := range entries {
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
				block:  b, index: i, offset: s.Offset, run: e.file.run, base: k >= n,
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

// yieldSeries yields the samples of one series that are in the reader's time range and have not been
// archived.
func (r *dayReader) yieldSeries(pieces []piece, yield func(parquet.Column, error) bool) bool {
	r.samples = r.samples[:0]
	archived := make(map[slotKey]struct{})
	for _, p := range pieces {
		r.values = slices.Grow(r.values[:0], p.block.Slots)[:p.block.Slots]
		if err := p.block.Decode(&r.decoder, r.values, p.index, 0); err != nil {
			return yield(parquet.Column{}, err)
		}
		for i, v := range r.values {
			if v != v {
				continue
			}
			slot := slotKey{p.block.Frequency, p.begin() - p.offset + int64(i)*p.block.Frequency}
			t := slot.time + p.offset
			switch {
			case t < r.from || t >= r.until:
			case r.moved.holds(p.run, t):
				archived[slot] = struct{}{}
			case !p.base:
				r.samples = append(r.samples, archivedSample{slot, t, v})
			}
		}
	}
	slices.SortStableFunc(r.samples, func(a, b archivedSample) int { return cmp.Compare(a.time, b.time) })
	last := int64(math.MinInt64)
	c := pieces[0].Column
	for _, x := range r.samples {
		if _, done := archived[x.slot]; done || x.time <= last {
			continue
		}
		last = x.time
		if seconds := x.slot.frequency / 1000; seconds != c.Frequency {
			if len(c.Times) > 0 && !yield(c, nil) {
				return false
			}
			c.Frequency, c.Times, c.Values = seconds, nil, nil
		}
		c.Times, c.Values = append(c.Times, unixtime.FloorDiv(x.time, 1000)), append(c.Values, x.value)
	}
	return len(c.Times) == 0 || yield(c, nil)
}
