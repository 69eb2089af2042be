// Package ccms reads the checkpoint directories of cc-metric-store (CCMS, the ClusterCockpit Metric
// Store), so that its history can be imported: <cluster>/<host>/<from>.json,
// <cluster>/<host>/<from>.bin and <cluster>/<host>/current.wal.
//
// It passes what it reads to a [Sink], which decides on retention, metrics and names, and writes
// nothing. Its input is untrusted: damage is reported with its place and does not affect the rest,
// and memory is bounded by a constant or by a small multiple of the file being read.
package ccms

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// Series is a run of samples of one series, at most [RunSamples] of them.
type Series struct {
	Key       memstore.Key
	Frequency int64     // seconds between samples; 0 if unknown (current.wal)
	Times     []int64   // Unix seconds, ascending in .json and .bin
	Values    []float64 // one for each time; never NaN
}

// RunSamples is the maximum number of samples in a [Series].
const RunSamples = 4096

// Sink stores a run, whose slices are valid only during the call. It returns how many of the
// samples it refused. An error stops the reading.
type Sink func(Series) (refused int, err error)

// Options of [Read].
type Options struct {
	// Since is in Unix seconds. A .json or .bin file that ends earlier is skipped unread. Samples
	// in other files may be older.
	Since int64
}

// Summary counts what was read.
type Summary struct {
	Files     int // read, including damaged ones
	Skipped   int // files that end before Options.Since
	Series    int // distinct ones; at most 65536 per host are counted
	Samples   int // passed to the sink
	Refused   int // by the sink
	Hosts     []Host
	TornTails int // logs that end within a record, as after a kill
	Damaged   int // damaged places, without TornTails

	// Damage holds the first 100 damaged places. A path is relative to the directory, and an offset
	// is at or before the fault.
	Damage []*disk.DamageError
}

// Host counts what was read of one host.
type Host struct {
	Cluster, Host string
	Samples       int
	From, To      int64 // Unix seconds of the oldest and the newest sample; 0 if there is none
}

// maxDamage is the maximum length of [Summary.Damage].
const maxDamage = 100

// Read reads a directory, host by host. It reads the files of a host oldest first and current.wal
// last, so that the newer of two samples for one slot comes later. Within a file it passes on all
// series of a short slice of time before the next slice, so that the store can seal its blocks. The
// error is that of the directory, of the sink or of ctx; the summary counts what was read until
// then.
func Read(ctx context.Context, fsys fs.FS, o Options, sink Sink) (Summary, error) {
	r := newReader(ctx, fsys, o, sink)
	clusters, err := directories(fsys, ".")
	if err != nil {
		return r.sum, fmt.Errorf("checkpoints of cc-metric-store: %w", err)
	}
	for _, cluster := range clusters {
		if cluster == ringStoreDir {
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
		r.addDamage(cluster, 0, err)
		return r.ctx.Err()
	}
	for _, host := range hosts {
		if err := r.readHost(cluster, host); err != nil {
			return err
		}
	}
	return nil
}

// Present reports whether a directory exists and holds files of cc-metric-store.
func Present(fsys fs.FS) (bool, error) {
	clusters, err := directories(fsys, ".")
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	for _, cluster := range clusters {
		if cluster == ringStoreDir {
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
