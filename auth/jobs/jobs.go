// Package jobs knows which jobs ran on which host, when, and whose they are, so
// that people may be shown their own and nothing else.
//
// It is told by sources (package ccbackend asks cc-backend, [Events] reads job
// events) and believes none of them more than it has to: a job that is not known
// to be over is over, for who looks, at the last moment at which it was seen
// running. It knows no store and no server; package access makes of a [View]
// what may be read.
package jobs

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"

	"github.com/ringstore/ringstore/auth"
)

// Job is one run of a job; a requeued one starts again. Its times are Unix
// seconds, those of the batch system.
type Job struct {
	ID            int64  // the batch system's
	Cluster       string // not empty
	User, Project string // User is not empty
	Start, End    int64  // [Start, End); End has no meaning of a running job
	Nodes         []Node // at least one
}

// Node is what a job has of a host.
type Node struct {
	Host    string
	Devices *Devices // nil: the host is the job's alone
}

// Devices are what a job has of a host that it shares. They do not change.
type Devices struct {
	HWThreads    []int    // sorted
	Accelerators []string // sorted
}

// Key tells jobs apart.
type Key struct {
	Cluster string
	ID      int64
	Start   int64 // Unix seconds
}

// Key returns the job's.
func (j *Job) Key() Key { return Key{j.Cluster, j.ID, j.Start} }

// What a job may be, at the most. A thousandth of it would be much.
const (
	maxName    = 256     // bytes of a user, project, cluster, host or accelerator, as auth.IsName
	maxNodes   = 1 << 17 // of a job
	maxDevices = 1 << 14 // of a kind on a node
	maxThread  = 1 << 20
	maxTime    = math.MaxUint32 // the year 2106
)

// ErrInvalid says that a job cannot be as it is told.
var ErrInvalid = errors.New("invalid job")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func (j *Job) check(running bool) error {
	switch {
	case j.Start <= 0 || j.Start >= maxTime:
		return invalid("start time %d", j.Start)
	case !running && (j.End < j.Start || j.End > maxTime):
		return invalid("it ends at %d, and began at %d", j.End, j.Start)
	case len(j.Nodes) == 0 || len(j.Nodes) > maxNodes:
		return invalid("%d nodes", len(j.Nodes))
	case j.Project != "" && !auth.IsName(j.Project):
		return invalid("the project is no name")
	case !auth.IsName(j.User):
		return invalid("the user is no name")
	case !auth.IsName(j.Cluster):
		return invalid("the cluster is no name")
	}
	for i := range j.Nodes {
		if err := j.Nodes[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) check() error {
	if !auth.IsName(n.Host) {
		return invalid("a host is no name")
	}
	d := n.Devices
	switch {
	case d == nil:
		return nil
	case len(d.HWThreads) > maxDevices || len(d.Accelerators) > maxDevices:
		return invalid("too many devices")
	case slices.ContainsFunc(d.HWThreads, func(n int) bool { return n < 0 || n > maxThread }):
		return invalid("a hwthread out of range")
	case slices.ContainsFunc(d.Accelerators, func(s string) bool { return !auth.IsName(s) }):
		return invalid("an accelerator is no name")
	}
	return nil
}

// print tells contents apart that jobs of one key may have.
func (j *Job) print(seed maphash.Seed) uint32 {
	var h maphash.Hash
	h.SetSeed(seed)
	text := func(s string) {
		maphash.WriteComparable(&h, len(s))
		_, _ = h.WriteString(s)
	}
	text(j.User)
	text(j.Project)
	for _, n := range j.Nodes {
		text(n.Host)
		if n.Devices == nil {
			_ = h.WriteByte(0)
			continue
		}
		_ = h.WriteByte(1)
		text(n.Devices.text())
	}
	return uint32(h.Sum64())
}

// text is the same for the same devices, and for no others.
func (d *Devices) text() string {
	var b []byte
	for _, t := range d.HWThreads {
		b = fmt.Append(b, t, ",")
	}
	for _, a := range d.Accelerators {
		b = append(append(b, 0), a...)
	}
	return string(b)
}

// Has reports whether a device is among them, by the type and type-id that its
// samples have.
func (d *Devices) Has(kind, id string) bool {
	switch kind {
	case "hwthread":
		n, err := strconv.Atoi(id)
		if err != nil || strconv.Itoa(n) != id {
			return false
		}
		_, ok := slices.BinarySearch(d.HWThreads, n)
		return ok
	case "accelerator":
		_, ok := slices.BinarySearch(d.Accelerators, id)
		return ok
	}
	return false
}
