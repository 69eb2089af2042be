package demo

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// job is a job of the synthetic cluster. Its times are relative to the start of the demo.
type job struct {
	id            int64
	user, project string
	workload      workload
	nodes         []int // node 1 is node01
	start         time.Duration
	end           time.Duration // 0: it runs as long as the demo

	// Of a node that it shares with others; none: it has whole nodes.
	threads      []int
	accelerators []int
}

func (j *job) shared() bool { return j.threads != nil }

// has reports whether the job has a hwthread of its nodes.
func (j *job) has(thread int) bool { return !j.shared() || slices.Contains(j.threads, thread) }

// running reports whether the job runs at a time relative to the start of the demo.
func (j *job) running(at time.Duration) bool { return at >= j.start && (j.end == 0 || at < j.end) }

// Jobs of the chain follow each other on the same nodes: each is reported when it starts and when
// it ends.
const (
	chainInterval = 10 * time.Minute
	chainLength   = 9 * time.Minute
)

// jobsUntil returns all jobs that have started at a time relative to the start of the demo.
func jobsUntil(at time.Duration) []job {
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	all := []job{
		{id: 1001, user: "bob", project: "climate", workload: bandwidthBound, nodes: []int{1, 2}, start: minutes(-58)},
		{id: 1002, user: "ann", project: "turbulence", workload: solver, nodes: []int{3, 4}, start: minutes(-55), end: minutes(-25)},
		{id: 1003, user: "cleo", project: "plasma", workload: solver, nodes: []int{9, 10, 11, failingNode}, start: minutes(-52)},
		{id: 1004, user: "bob", project: "climate", workload: inference, nodes: []int{21}, start: minutes(-50), threads: threadsFrom(8), accelerators: []int{2, 3}},
		{id: 1005, user: "ann", project: "vision", workload: training, nodes: []int{21}, start: minutes(-45), threads: threadsFrom(0), accelerators: []int{0, deadAccelerator}},
		{id: 1006, user: "cleo", project: "plasma", workload: imbalanced, nodes: []int{17, 18}, start: minutes(-40)},
		{id: 1007, user: "dan", project: "vision", workload: training, nodes: []int{22, 23}, start: minutes(-30)},
		{id: 1008, user: "ann", project: "turbulence", workload: solver, nodes: []int{5, 6, 7, 8}, start: minutes(-20)},
		{id: 1009, user: "dan", project: "chemistry", workload: bandwidthBound, nodes: []int{3, 4}, start: minutes(-12)},
	}
	id := int64(1010)
	for start := -history; start <= at; start += chainInterval {
		all = append(all, job{
			id: id, user: "eve", project: "genomes", workload: solver, nodes: []int{13, 14, 15, 16},
			start: start, end: start + chainLength,
		})
		id++
	}
	return slices.DeleteFunc(all, func(j job) bool { return j.start > at })
}

// threadsFrom returns the hwthreads of half a node.
func threadsFrom(first int) []int {
	half := make([]int, threads/2)
	for i := range half {
		half[i] = first + i
	}
	return half
}

// appendEvents appends the job events of a time range relative to began, the start of the demo, in
// the form of cc-backend's adapters.
func appendEvents(dst []byte, began time.Time, after, until time.Duration) []byte {
	for _, j := range jobsUntil(until) {
		if j.start > after {
			dst = appendEvent(dst, "start_job", j.startEvent(began))
		}
		if j.end != 0 && j.end > after && j.end <= until {
			dst = appendEvent(dst, "stop_job", map[string]any{
				"jobId": j.id, "cluster": cluster, "jobState": "completed",
				"startTime": began.Add(j.start).Unix(), "stopTime": began.Add(j.end).Unix(),
			})
		}
	}
	return dst
}

func (j *job) startEvent(began time.Time) map[string]any {
	sharing := "none"
	if j.shared() {
		sharing = "multi_user"
	}
	var resources []map[string]any
	for _, n := range j.nodes {
		resource := map[string]any{"hostname": nodeName(n)}
		if j.shared() {
			var ids []string
			for _, a := range j.accelerators {
				ids = append(ids, acceleratorIDs[a])
			}
			resource["hwthreads"], resource["accelerators"] = j.threads, ids
		}
		resources = append(resources, resource)
	}
	return map[string]any{
		"jobId": j.id, "user": j.user, "project": j.project, "cluster": cluster, "shared": sharing,
		"jobState": "running", "startTime": began.Add(j.start).Unix(), "resources": resources,
	}
}

func appendEvent(dst []byte, function string, event map[string]any) []byte {
	text, _ := json.Marshal(event) // cannot fail for these types
	return fmt.Appendf(dst, "job,function=%s event=%s\n", function, strconv.Quote(string(text)))
}

// jobsOf returns how many jobs of a user have started when the demo begins.
func jobsOf(user string) (n int) {
	for _, j := range jobsUntil(0) {
		if j.user == user {
			n++
		}
	}
	return n
}
