package jobs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"

	"github.com/ringstore/ringstore/auth"
)

// Events applies job events to an index. cc-backend's adapters publish them as lines of Influx line
// protocol:
//
//	job,function=start_job event="{JSON of a job}" 1795200000000000000
//	job,function=stop_job event="{JSON: jobId, cluster, stopTime, jobState}" 1795200000000000000
//
// A stop may name the job's startTime. If it does not, as those of cc-slurm-adapter, it ends the
// latest run of the job that is open and began before it.
//
// It knows no broker: the owner of the subscription asks [Events.May] about a sender and passes its
// messages to [Events.Handle]. Its methods may be called by many goroutines.
type Events struct {
	ix         *Index
	publishers []Publisher
}

// Publisher names a principal that may report jobs.
type Publisher struct{ Issuer, Subject string }

// NewEvents returns an Events that accepts events of principals with role admin and of the
// publishers only.
func NewEvents(ix *Index, publishers []Publisher) *Events {
	return &Events{ix, slices.Clone(publishers)}
}

// ErrPublisher is returned for a principal that may not report jobs. It is an [auth.Denied].
var ErrPublisher = fmt.Errorf("not a publisher of job events: %w", &auth.Denied{Action: auth.Write, Code: auth.InsufficientRole})

const (
	maxMessage = 8 << 20 // bytes
	maxEvents  = 10_000  // in a message
)

// May returns a function that reports whether a principal may report jobs of a cluster; nil if it
// may report jobs of every cluster. The error is [ErrPublisher].
func (e *Events) May(p *auth.Principal) (func(cluster string) bool, error) {
	switch {
	case p == nil || !e.publishes(p) && !auth.Policy{}.ReportsJobs(p):
		return nil, ErrPublisher
	case p.Clusters == nil && (e.publishes(p) || len(p.Limited) == 0):
		return nil, nil
	}
	return func(cluster string) bool { return e.mayReport(p, cluster) }, nil
}

// Handle applies the events of a message. may is the result of [Events.May] for its sender. Invalid
// events and events of other clusters are left out; the error names the first three.
func (e *Events) Handle(may func(cluster string) bool, message []byte) error {
	if len(message) > maxMessage {
		return invalid("message: expected at most %d bytes, got %d", maxMessage, len(message))
	}
	e.MarkAlive()
	var errs []error
	n := 0
	for d := influx.NewDecoderWithBytes(message); d.Next(); n++ {
		if n == maxEvents {
			errs = append(errs, invalid("more than %d events in a message", maxEvents))
			break
		}
		function, event, err := readEvent(d)
		if err == nil {
			err = e.apply(may, function, event)
		}
		if err != nil && len(errs) < 3 {
			errs = append(errs, fmt.Errorf("event %d: %w", n+1, err))
		}
	}
	return errors.Join(errs...)
}

// publishes reports whether p is one of the publishers. Anybody may choose a publisher's name where
// people choose their names, and at another issuer.
func (e *Events) publishes(p *auth.Principal) bool {
	return !p.SelfChosen && slices.Contains(e.publishers, Publisher{p.Issuer, p.Subject})
}

// mayReport reports whether a principal may report jobs of a cluster.
func (e *Events) mayReport(p *auth.Principal, cluster string) bool {
	listed := p.Clusters == nil || slices.Contains(p.Clusters, cluster)
	return listed && e.publishes(p) || auth.Policy{}.ReportsJobsOn(p, cluster)
}

// MarkAlive records that the event source works, even if it has nothing to report. The owner of the
// subscription calls it every few seconds while the subscription works.
func (e *Events) MarkAlive() { e.ix.markAlive(e.ix.o.Now().Unix()) }

// MarkLost records that events were lost. They may have ended any job, so no job stays live.
func (e *Events) MarkLost() {
	defer e.ix.lock()()
	e.ix.endLive()
}

// readEvent reads the event in a line. Its errors do not show the line.
func readEvent(d *influx.Decoder) (function string, event []byte, err error) {
	measurement, err := d.Measurement()
	if err != nil {
		return "", nil, invalid("expected a line of line protocol")
	}
	for {
		name, value, err := d.NextTag()
		if err != nil {
			return "", nil, invalid("expected a line of line protocol")
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
			return "", nil, invalid("expected a line of line protocol")
		}
		if name == nil {
			break
		}
		if string(name) == "event" && value.Kind() == influx.String {
			event = []byte(value.StringV())
		}
	}
	if string(measurement) != "job" || event == nil {
		return "", nil, invalid("expected the measurement job with a field event")
	}
	return function, event, nil
}

// apply applies an event.
func (e *Events) apply(may func(cluster string) bool, function string, event []byte) error {
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
		if stop.StartTime == 0 {
			return e.ix.stoppedLatest(stop.Cluster, stop.JobID, stop.StopTime)
		}
		return e.ix.stopped(Key{stop.Cluster, stop.JobID, stop.StartTime}, stop.StopTime)
	}
	return invalid("function: expected start_job or stop_job")
}

func decode(event []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(event))
	if err := d.Decode(into); err != nil || d.More() {
		return invalid("event: expected one JSON object of a job") // the event is not shown: it may be long
	}
	return nil
}

// started adds the job of a start event. A known job does not change: the event may be late, and
// must not give the job to another user.
func (ix *Index) started(at uint32, known bool, r *Report) uint32 {
	if known {
		return at
	}
	flags := open | live
	if ix.supersedeRuns(r) {
		flags = open // it ends with its stop event, or as cc-backend reports
	}
	for i := range r.Nodes {
		ix.supersedeOn(r, &r.Nodes[i])
	}
	return ix.t.add(ix.seed, &r.Job, job{end: uint32(r.Start), fingerprint: r.fingerprint(ix.seed), flags: flags})
}

// supersedeRuns ends earlier open runs of the job when r starts: it was requeued. It reports whether
// a later run is open, so that r has ended already.
func (ix *Index) supersedeRuns(r *Report) (late bool) {
	for _, at := range ix.t.runs[runID{ix.t.cluster(r.Cluster), r.ID}] {
		j := &ix.t.jobs[at]
		if int64(j.start) > r.Start {
			late = true
			continue
		}
		j.supersede(uint32(r.Start))
	}
	return late
}

// supersedeOn ends open jobs of others on a host when r starts there, if the host cannot be shared
// by both: their stop events were lost.
func (ix *Index) supersedeOn(r *Report, n *Node) {
	host := ix.t.host(hostName{ix.t.cluster(r.Cluster), ix.t.name(n.Host)})
	user, project, from := ix.t.name(r.User), ix.t.name(r.Project), uint32(r.Start)
	ix.t.live[host] = slices.DeleteFunc(ix.t.live[host], func(i interval) bool {
		j := &ix.t.jobs[i.job]
		ofOthers := j.user != user || j.project != project // one user's jobs may share a host
		if ofOthers && (n.Devices == nil || i.devices == 0) && j.start <= from {
			j.supersede(from)
		}
		return j.flags&(open|superseded|replaced) != open
	})
}

// supersede ends an open job when a later one starts. If it runs nevertheless, cc-backend will report
// so.
func (j *job) supersede(from uint32) {
	if j.flags&live != 0 || j.end > from {
		j.end = from
	}
	j.flags = j.flags&^live | superseded
}

// stoppedLatest ends the latest run of a job that is open and began at its end or before. A stop
// without such a run is counted and ignored: its start was lost, or the run has ended.
func (ix *Index) stoppedLatest(cluster string, id, end int64) error {
	defer ix.lock()()
	if end <= 0 || end > maxTime {
		return invalidEnd(1, end)
	}
	found := false
	var latest uint32
	if number, ok := ix.t.clusterIDs[cluster]; ok {
		for _, at := range ix.t.runs[runID{number, id}] {
			start := ix.t.jobs[at].start
			if int64(start) <= end && (!found || start > ix.t.jobs[latest].start) {
				latest, found = at, true
			}
		}
	}
	if !found {
		ix.ignored++
		return nil
	}
	ix.end(latest, end)
	return nil
}

// IgnoredStops returns how many stop events without a start time matched no open job.
func (ix *Index) IgnoredStops() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.ignored
}

// stopped ends a job. It does not change the end of a job that has ended already: cc-backend and
// the first stop event are right.
func (ix *Index) stopped(k Key, end int64) error {
	defer ix.lock()()
	at, ok := ix.find(k)
	switch {
	case !ok:
		return invalid("stop of an unknown job")
	case end < k.Start || end > maxTime:
		return invalidEnd(k.Start, end)
	case ix.t.jobs[at].flags&open != 0:
		ix.end(at, end)
	}
	return nil
}

// end ends an open job. One that a later job has ended stays ended at that time or before.
func (ix *Index) end(at uint32, end int64) {
	j := &ix.t.jobs[at]
	if j.flags&superseded != 0 {
		end = min(end, int64(j.end))
	}
	j.end, j.flags = uint32(end), j.flags&^(open|live|superseded)
	ix.t.updateOpen(at)
	ix.changes++
}

// EventsAliveAt returns when the event source was last known to work, in Unix seconds; 0 if it
// never was.
func (ix *Index) EventsAliveAt() int64 {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	return ix.aliveAt
}

// saveAliveEvery is how often aliveAt counts as a change that must be saved, in seconds.
const saveAliveEvery = 60

// markAlive records that the event source works. If it was silent for too long, events may have
// been lost: live jobs end when the silence began.
func (ix *Index) markAlive(at int64) {
	defer ix.lock()()
	if at-ix.aliveAt > int64(ix.o.MaxStaleness.Seconds()) {
		ix.endLive()
	}
	if at/saveAliveEvery != ix.aliveAt/saveAliveEvery {
		ix.changes++
	}
	ix.aliveAt = max(ix.aliveAt, at)
}

// endLive stops events from keeping jobs open: live jobs were last seen when the event source last
// worked.
func (ix *Index) endLive() {
	for i := range ix.t.open {
		j := &ix.t.jobs[i]
		if j.flags&live != 0 {
			j.end = uint32(max(int64(j.end), ix.aliveAt))
			j.flags &^= live
			ix.changes++
		}
	}
}
