// Package jobs records which jobs ran on which host, when, and whose they are, so that users see
// the data of their own jobs only.
//
// Sources report jobs: package ccbackend polls cc-backend, [Events] reads job events. A job that is
// not known to have ended counts as ended when it was last seen running. The package knows no store
// and no server; package api/access turns a [View] into what a principal may read.
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

// Job is one run of a job; a requeued job is a new Job. Times are Unix seconds by the clock of the
// batch system.
type Job struct {
	ID            int64  // given by the batch system
	Cluster       string // not empty
	User, Project string // User is not empty
	Start, End    int64  // [Start, End); End is ignored while the job runs
	Nodes         []Node // at least one
}

// Node is a host of a job.
type Node struct {
	Host    string
	Devices *Devices // of a shared host; nil: the job has the whole host
}

// Devices are the devices that a job has on a shared host. They are not changed after their
// creation.
type Devices struct {
	HWThreads    []int    // sorted
	Accelerators []string // sorted
}

// Key identifies a job.
type Key struct {
	Cluster string
	ID      int64
	Start   int64 // Unix seconds
}

// Key returns the job's key.
func (j *Job) Key() Key { return Key{j.Cluster, j.ID, j.Start} }

// Limits of a job, far above any real one.
const (
	maxName    = 256     // bytes of a user, project, cluster, host or accelerator, as auth.IsName
	maxNodes   = 1 << 17 // of a job
	maxDevices = 1 << 14 // of one kind on a node
	maxThread  = 1 << 20
	maxTime    = math.MaxUint32 // the year 2106
)

// ErrInvalid is returned for a report or event that describes no possible job.
var ErrInvalid = errors.New("invalid job")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

func invalidEnd(start, end int64) error {
	return invalid("end time: expected %d to %d, got %d", start, maxTime, end)
}

func (j *Job) check(running bool) error {
	switch {
	case j.Start <= 0 || j.Start >= maxTime:
		return invalid("start time: expected 1 to %d, got %d", maxTime-1, j.Start)
	case !running && (j.End < j.Start || j.End > maxTime):
		return invalidEnd(j.Start, j.End)
	case len(j.Nodes) == 0 || len(j.Nodes) > maxNodes:
		return invalid("expected 1 to %d nodes, got %d", maxNodes, len(j.Nodes))
	case j.Project != "" && !auth.IsName(j.Project):
		return invalid("the project is not a valid name")
	case !auth.IsName(j.User):
		return invalid("the user is not a valid name")
	case !auth.IsName(j.Cluster):
		return invalid("the cluster is not a valid name")
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
		return invalid("a host is not a valid name")
	}
	d := n.Devices
	switch {
	case d == nil:
		return nil
	case len(d.HWThreads) > maxDevices || len(d.Accelerators) > maxDevices:
		return invalid("host with more than %d devices of one kind", maxDevices)
	case slices.ContainsFunc(d.HWThreads, func(n int) bool { return n < 0 || n > maxThread }):
		return invalid("a hwthread is not from 0 to %d", maxThread)
	case slices.ContainsFunc(d.Accelerators, func(s string) bool { return !auth.IsName(s) }):
		return invalid("an accelerator is not a valid name")
	}
	return nil
}

// fingerprint is a hash of what jobs with the same key can differ in.
func (j *Job) fingerprint(seed maphash.Seed) uint32 {
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

// text is different for different devices.
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

// Has reports whether d has the device with the type and type-id of a sample.
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
