package ccms

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

const bufferBytes = 128 << 10 // holds the longest name and the longest record

// errOlder stops the reading of a file that ends before Options.Since.
var errOlder = errors.New("older than Options.Since")

// reader is one call of [Read].
type reader struct {
	ctx  context.Context
	fsys fs.FS
	o    Options
	sink Sink
	sum  Summary

	// Of the host being read.
	cluster, host string
	stat          Host
	anchors       map[seriesName]int64 // a time on the grid of each series

	// Of the file being read.
	path    string
	in      *bufio.Reader
	columns []column
	values  []float64 // of the columns, NaN for none
}

// seriesName is the path of a series below its host.
type seriesName struct {
	device memstore.Device
	metric string
}

func newReader(ctx context.Context, fsys fs.FS, o Options, sink Sink) *reader {
	return &reader{ctx: ctx, fsys: fsys, o: o, sink: sink, in: bufio.NewReaderSize(nil, bufferBytes)}
}

func (r *reader) addDamage(path string, offset int64, err error) {
	r.sum.Damaged++
	if len(r.sum.Damage) < maxDamage {
		r.sum.Damage = append(r.sum.Damage, &disk.DamageError{Path: path, Offset: offset, Err: err})
	}
}

// fileDamage records damage in the file being read.
func (r *reader) fileDamage(offset int64, format string, args ...any) {
	r.addDamage(r.path, offset, fmt.Errorf(format, args...))
}

func (r *reader) readHost(cluster, host string) error {
	dir := cluster + "/" + host
	files, err := hostFiles(r.fsys, dir)
	if err != nil {
		r.addDamage(dir, 0, err)
		return r.ctx.Err()
	}
	if len(files) == 0 {
		return r.ctx.Err()
	}
	r.cluster, r.host, r.stat, r.anchors = cluster, host, Host{Cluster: cluster, Host: host}, map[seriesName]int64{}
	defer func() {
		r.sum.Series += len(r.anchors)
		r.sum.Hosts = append(r.sum.Hosts, r.stat)
	}()
	if last := files[len(files)-1]; last.format == walFormat && len(files) > 1 {
		if err := r.anchorByLog(last); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := r.readFile(f); err != nil {
			return err
		}
	}
	return nil
}

// fatal is an error of the sink or the context. It stops the reading.
type fatal struct{ error }

func (f fatal) Unwrap() error { return f.error }

func (r *reader) readFile(f file) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	err := r.withFile(f, r.parse)
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if end, ok := errors.AsType[fatal](err); ok {
		return fmt.Errorf("%s: %w", f.path, end.error)
	}
	if errors.Is(err, errOlder) {
		r.sum.Skipped++
		return nil
	}
	r.sum.Files++
	if at, ok := errors.AsType[*atOffset](err); ok {
		r.addDamage(f.path, at.offset, at.err)
	} else if err != nil {
		r.addDamage(f.path, 0, err)
	}
	return nil
}

func (r *reader) withFile(f file, parse func(file, fs.File, int64) error) (err error) {
	in, err := r.fsys.Open(f.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	r.path = f.path
	return parse(f, in, info.Size())
}

func (r *reader) parse(f file, in fs.File, size int64) error {
	r.in.Reset(contextReader{r.ctx, in})
	r.columns, r.values = r.columns[:0], r.values[:0]
	switch f.format {
	case jsonFormat:
		s := jsonSpan(in, size, f.from)
		if s.before(r.o.Since) {
			return errOlder
		}
		err := r.readJSON(s)
		return errors.Join(r.passColumns(), err)
	case binFormat:
		err := r.readBin(cursor{in: r.in, size: size})
		return errors.Join(r.passColumns(), err)
	default:
		return r.readLog(&cursor{in: r.in, size: size})
	}
}

func (r *reader) key(s seriesName) memstore.Key {
	return memstore.Key{Cluster: r.cluster, Host: r.host, Metric: s.metric, Device: s.device}
}

// pass passes a run to the sink.
func (r *reader) pass(run Series) error {
	if len(run.Times) == 0 {
		return nil
	}
	if err := r.ctx.Err(); err != nil {
		return fatal{err}
	}
	refused, err := r.sink(run)
	if err != nil {
		return fatal{err}
	}
	r.sum.Samples += len(run.Times)
	r.sum.Refused += refused
	for _, t := range run.Times {
		if r.stat.Samples == 0 {
			r.stat.From, r.stat.To = t, t
		}
		r.stat.From, r.stat.To = min(r.stat.From, t), max(r.stat.To, t)
		r.stat.Samples++
	}
	return nil
}
