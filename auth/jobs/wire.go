package jobs

import "slices"

// Wire holds the fields used here of a job in cc-backend's REST API and in job events.
type Wire struct {
	JobID     int64  `json:"jobId"`
	User      string `json:"user"`
	Project   string `json:"project"`
	Cluster   string `json:"cluster"`
	State     string `json:"jobState"`
	StartTime int64  `json:"startTime"` // Unix seconds
	Duration  int64  `json:"duration"`  // seconds; of a running job, until now
	Shared    string `json:"shared"`
	Exclusive *int   `json:"exclusive"` // in place of shared, by older versions
	Resources []struct {
		Hostname     string   `json:"hostname"`
		HWThreads    []int    `json:"hwthreads"`
		Accelerators []string `json:"accelerators"`
	} `json:"resources"`
}

// Running reports whether the job runs. All other states of cc-backend are ends.
func (w *Wire) Running() bool { return w.State == "running" }

// wholeNodes reports whether the nodes have no jobs of other users. Anything unknown, missing or
// contradictory counts as shared.
func (w *Wire) wholeNodes() bool {
	whole := w.Shared == "none" || w.Shared == "single_user"
	if w.Exclusive == nil {
		return whole
	}
	// 0 is multi_user, 1 is none, 2 is single_user
	return (whole || w.Shared == "") && (*w.Exclusive == 1 || *w.Exclusive == 2)
}

// Job returns the job. Of a host that is shared with other users it has only its devices.
func (w *Wire) Job() Job {
	j := Job{ID: w.JobID, User: w.User, Project: w.Project, Cluster: w.Cluster, Start: w.StartTime, End: w.StartTime + w.Duration}
	if w.Duration < 0 || w.Duration > maxTime {
		j.End = -1 // invalid
	}
	for _, r := range w.Resources {
		n := Node{Host: r.Hostname}
		if !w.wholeNodes() {
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
