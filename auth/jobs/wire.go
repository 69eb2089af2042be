package jobs

import (
	"slices"
)

// Wire is a job as cc-backend's REST API and job events write it, as far as it
// matters here.
type Wire struct {
	JobID     int64  `json:"jobId"`
	User      string `json:"user"`
	Project   string `json:"project"`
	Cluster   string `json:"cluster"`
	State     string `json:"jobState"`
	StartTime int64  `json:"startTime"` // Unix seconds
	Duration  int64  `json:"duration"`  // seconds; of a running job so far
	Shared    string `json:"shared"`
	Resources []struct {
		Hostname     string   `json:"hostname"`
		HWThreads    []int    `json:"hwthreads"`
		Accelerators []string `json:"accelerators"`
	} `json:"resources"`
}

// Running reports whether the job is; cc-backend knows many other states.
func (w *Wire) Running() bool { return w.State == "running" }

// Job returns the job. A host that is shared with other users, or is not said
// not to be and of which devices are named, is the job's in its devices only.
func (w *Wire) Job() Job {
	j := Job{ID: w.JobID, User: w.User, Project: w.Project, Cluster: w.Cluster, Start: w.StartTime, End: w.StartTime + w.Duration}
	if w.Duration < 0 || w.Duration > maxTime {
		j.End = -1 // which check refuses
	}
	for _, r := range w.Resources {
		n := Node{Host: r.Hostname}
		named := len(r.HWThreads)+len(r.Accelerators) > 0
		if w.Shared != "none" && w.Shared != "single_user" && (w.Shared != "" || named) {
			n.Devices = &Devices{HWThreads: sorted(r.HWThreads), Accelerators: sorted(r.Accelerators)}
		}
		j.Nodes = append(j.Nodes, n)
	}
	return j
}

func sorted[T int | string](list []T) []T {
	slices.Sort(list)
	return slices.Compact(list)
}
