// Package ccms reads the checkpoint directories of cc-metric-store (CCMS, the
// ClusterCockpit Metric Store), so that its history can move in here:
// <cluster>/<host>/<from>.json, <cluster>/<host>/<from>.bin and
// <cluster>/<host>/current.wal.
//
// It knows those formats and how a device is named in them, but nothing of a
// store: what it reads goes to a [Sink], which decides on retention, metrics and
// names. It writes nothing. Every byte is taken for hostile: what is damaged is
// reported with its place and loses itself only, and memory is bounded by a
// constant, or by a small multiple of the one file being read.
package ccms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ringstore/ringstore/memstore"
)

// Series is a run of samples of one series, at most [RunSamples] of them.
type Series struct {
	Key       memstore.Key
	Frequency int64     // seconds between samples; 0 if not known (current.wal)
	Times     []int64   // Unix seconds, ascending in .json and .bin
	Values    []float64 // one for each time; never NaN
}

// RunSamples is the most samples that a [Series] holds.
const RunSamples = 4096

// Sink takes a run, whose slices are valid during the call only. It returns how
// many of the samples it refused. An error ends the reading.
type Sink func(Series) (refused int, err error)

// Options of [Read].
type Options struct {
	// Since is Unix seconds. A .json or .bin that ends before is skipped without
	// reading it. Samples of other files may be older.
	Since int64
}

// Summary tells what was read.
type Summary struct {
	Files     int // read, damaged ones included
	Skipped   int // files that end before Options.Since
	Series    int // different ones; no more than 65536 of a host are counted
	Samples   int // given to the sink
	Refused   int // of these, by the sink
	Hosts     []Host
	TornTails int      // logs that end within a record, as a kill leaves them
	Damaged   int      // all damage, TornTails left out
	Damage    []Damage // the first 100 of it
}

// Host tells what was read of one host.
type Host struct {
	Cluster, Host string
	Samples       int
	From, To      int64 // Unix seconds of the oldest and the newest sample; 0 if there is none
}

// Damage is a part of a file that could not be read.
type Damage struct {
	Path   string // in the directory
	Offset int64  // bytes from the start of the file; at or before the fault
	Reason string
}

// Error says all of it.
func (d Damage) Error() string { return fmt.Sprintf("%s, byte %d: %s", d.Path, d.Offset, d.Reason) }

// maxDamage is how much damage a [Summary] lists.
const maxDamage = 100

// Read reads a directory, host by host, the files of a host oldest first and
// its current.wal last, so that the newer of two samples of one slot comes
// later. Within a file a short slice of time comes in all its series before the
// next slice, so that a store can complete what it keeps by time. The error is that of the directory itself, of the sink or of ctx; the
// summary tells what was read until then.
func Read(ctx context.Context, fsys fs.FS, o Options, sink Sink) (Summary, error) {
	r := newReader(ctx, fsys, o, sink)
	clusters, err := directories(fsys, ".")
	if err != nil {
		return r.sum, fmt.Errorf("cc-metric-store's checkpoints: %w", err)
	}
	for _, cluster := range clusters {
		if cluster == ours {
			continue
		}
		if err := r.readCluster(cluster); err != nil {
			return r.sum, err
		}
	}
	return r.sum, nil
}

func (r *reader) readCluster(cluster string) error {
	hosts, err := directories(r.fsys, cluster)
	if err != nil {
		r.damage(cluster, 0, err.Error())
		return r.ctx.Err()
	}
	for _, host := range hosts {
		if err := r.readHost(cluster, host); err != nil {
			return err
		}
	}
	return nil
}

// Present reports whether a directory holds files of cc-metric-store. One that
// does not exist holds none.
func Present(fsys fs.FS) (bool, error) {
	clusters, err := directories(fsys, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, cluster := range clusters {
		if cluster == ours {
			continue
		}
		hosts, err := directories(fsys, cluster)
		if err != nil {
			return false, err
		}
		for _, host := range hosts {
			found, err := hostFiles(fsys, cluster+"/"+host)
			if err != nil || len(found) > 0 {
				return len(found) > 0, err
			}
		}
	}
	return false, nil
}
