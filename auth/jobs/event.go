package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/ringstore/ringstore/auth"
)

// Events takes job events as cc-backend's adapters publish them, a line of Influx
// line protocol each:
//
//	job,function=start_job event="{JSON of a job}" 1795200000000000000
//	job,function=stop_job event="{JSON: jobId, cluster, startTime, stopTime, jobState}" 1795200000000000000
//
// It knows no broker: whoever has one asks what a sender may tell of, and hands
// the messages over. Its methods may be called by many goroutines.
type Events struct {
	ix         *Index
	publishers []string
}

// NewEvents returns what takes events of principals with role admin and of the
// publishers; of nobody else, whatever they may write. A publisher is a subject
// of any issuer, if there is no colon in it, or an issuer's name, a colon and one
// of its subjects.
func NewEvents(ix *Index, publishers []string) *Events {
	return &Events{ix, slices.Clone(publishers)}
}

// ErrPublisher says that a principal may not tell of jobs, and is an [auth.Denied].
var ErrPublisher = fmt.Errorf("not a publisher of job events: %w", &auth.Denied{Action: auth.Write, Code: auth.InsufficientRole})

const (
	maxMessage = 8 << 20 // bytes
	maxEvents  = 10_000  // in a message
)

// May returns of which clusters' jobs a principal may tell, nil for all. The error
// is [ErrPublisher].
func (e *Events) May(p *auth.Principal) (func(cluster string) bool, error) {
	switch {
	case p == nil || !e.publishes(p) && !p.Roles.Has(auth.Admin):
		return nil, ErrPublisher
	case p.Clusters == nil && (e.publishes(p) || len(p.Limited) == 0):
		return nil, nil
	}
	return func(cluster string) bool { return e.mayTell(p, cluster) }, nil
}

// Handle takes the events of a message whose sender may tell of some clusters'
// jobs, as [Events.May] says. Those that are none, or of other clusters, are left
// out; the error tells of these.
func (e *Events) Handle(may func(cluster string) bool, message []byte) error {
	if len(message) > maxMessage {
		return fmt.Errorf("%w: the message is longer than %d bytes", ErrInvalid, maxMessage)
	}
	e.Alive()
	var errs []error
	n := 0
	for d := influx.NewDecoderWithBytes(message); d.Next(); n++ {
		if n == maxEvents {
			errs = append(errs, fmt.Errorf("%w: more than %d events in a message", ErrInvalid, maxEvents))
			break
		}
		function, event, err := readEvent(d)
		if err == nil {
			err = e.happened(may, function, event)
		}
		if err != nil && len(errs) < 3 {
			errs = append(errs, fmt.Errorf("event %d: %w", n+1, err))
		}
	}
	return errors.Join(errs...)
}

func (e *Events) publishes(p *auth.Principal) bool {
	return slices.ContainsFunc(e.publishers, func(name string) bool {
		// With a colon it is an issuer's: another's subject may be called the same.
		return name == p.Issuer+":"+p.Subject || name == p.Subject && !strings.Contains(name, ":")
	})
}

// mayTell reports whether a principal may tell of a cluster's jobs.
func (e *Events) mayTell(p *auth.Principal, cluster string) bool {
	listed := p.Clusters == nil || slices.Contains(p.Clusters, cluster)
	return listed && e.publishes(p) || p.RolesOn(cluster).Has(auth.Admin)
}

// Alive notes that events come, if there are any. Whoever has the subscription
// calls it every few seconds for as long as that works.
func (e *Events) Alive() { e.ix.setAlive(e.ix.o.Now().Unix()) }

// Lost notes that events came and are lost. The end of any job may be among them:
// those that only events keep open are shut.
func (e *Events) Lost() {
	defer e.ix.lock()()
	e.ix.freeze()
}

// readEvent reads a line. Its errors do not show it.
func readEvent(d *influx.Decoder) (function string, event []byte, err error) {
	measurement, err := d.Measurement()
	if err != nil {
		return "", nil, invalid("not line protocol")
	}
	for {
		name, value, err := d.NextTag()
		if err != nil {
			return "", nil, invalid("not line protocol")
		}
		if name == nil {
			break
		}
		if string(name) == "function" {
			function = string(value)
		}
	}
	for {
		name, value, err := d.NextField()
		if err != nil {
			return "", nil, invalid("not line protocol")
		}
		if name == nil {
			break
		}
		if string(name) == "event" && value.Kind() == influx.String {
			event = []byte(value.StringV())
		}
	}
	if string(measurement) != "job" || event == nil {
		return "", nil, invalid("not a job event")
	}
	return function, event, nil
}

// happened applies an event.
func (e *Events) happened(may func(cluster string) bool, function string, event []byte) error {
	switch function {
	case "start_job":
		var w Wire
		if err := decode(event, &w); err != nil {
			return err
		}
		if may != nil && !may(w.Cluster) {
			return ErrPublisher
		}
		return e.ix.change([]Report{{Job: w.Job(), Running: true}}, e.ix.started)
	case "stop_job":
		var stop struct {
			JobID     int64  `json:"jobId"`
			Cluster   string `json:"cluster"`
			StartTime int64  `json:"startTime"`
			StopTime  int64  `json:"stopTime"`
		}
		if err := decode(event, &stop); err != nil {
			return err
		}
		if may != nil && !may(stop.Cluster) {
			return ErrPublisher
		}
		return e.ix.stopped(Key{stop.Cluster, stop.JobID, stop.StartTime}, stop.StopTime)
	}
	return invalid("a function that is neither start_job nor stop_job")
}

func decode(event []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(event))
	if err := d.Decode(into); err != nil || d.More() {
		return invalid("the event is not JSON of a job") // not shown: it may be long
	}
	return nil
}

// started puts in a job of which an event tells. What is known of it already
// stays: an event can come late, and may not give a job to somebody else.
func (ix *Index) started(at uint32, known bool, r *Report) uint32 {
	if known {
		return at
	}
	for i := range r.Nodes {
		ix.evict(r, &r.Nodes[i])
	}
	return ix.t.add(ix.seed, &r.Job, job{end: uint32(r.Start), print: r.print(ix.seed), flags: open | live})
}

// evict ends what only events keep open on a host, where that or what r tells of
// has all of it: it is another's from a moment on, so an event was lost.
func (ix *Index) evict(r *Report, n *Node) {
	host := ix.t.host(hostName{ix.t.cluster(r.Cluster), ix.t.name(n.Host)})
	user, project, from := ix.t.name(r.User), ix.t.name(r.Project), uint32(r.Start)
	ix.t.live[host] = slices.DeleteFunc(ix.t.live[host], func(i interval) bool {
		j := &ix.t.jobs[i.job]
		another := j.user != user || j.project != project // one user's jobs may share a host
		if another && (n.Devices == nil || i.devices == 0) && j.flags&live != 0 && j.start <= from {
			j.flags &^= live
			j.end = max(j.end, from)
		}
		return j.flags&live == 0
	})
}

// stopped closes a job. When one is closed already cc-backend is right, or the
// first event.
func (ix *Index) stopped(k Key, end int64) error {
	defer ix.lock()()
	at, ok := ix.find(k)
	if !ok {
		return invalid("the end of a job that is not known")
	}
	j := &ix.t.jobs[at]
	if end < k.Start || end > maxTime {
		return invalid("it ends at %d, and began at %d", end, k.Start)
	}
	if j.flags&open != 0 {
		j.end, j.flags = uint32(end), j.flags&^(open|live)
		ix.t.mark(at)
		ix.changes++
	}
	return nil
}

// Heard returns when events were last known to come, in Unix seconds; 0 if they
// never were.
func (ix *Index) Heard() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.alive
}

// saveAlive is how often it is saved that events come, in seconds.
const saveAlive = 60

// setAlive notes that events come. After a time without, nobody knows which were
// lost: the jobs that they kept open are shut at its beginning.
func (ix *Index) setAlive(at int64) {
	defer ix.lock()()
	if at-ix.alive > int64(ix.o.MaxStaleness.Seconds()) {
		ix.freeze()
	}
	if at/saveAlive != ix.alive/saveAlive {
		ix.changes++
	}
	ix.alive = max(ix.alive, at)
}

// freeze shuts what only events keep open when these were last heard.
func (ix *Index) freeze() {
	for i := range ix.t.open {
		j := &ix.t.jobs[i]
		if j.flags&live != 0 {
			j.end = uint32(max(int64(j.end), ix.alive))
			j.flags &^= live
			ix.changes++
		}
	}
	clear(ix.t.live)
}
