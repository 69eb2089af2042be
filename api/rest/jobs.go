package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
)

// shownJob is a job in the answer of /api/jobs.
type shownJob struct {
	JobID   int64    `json:"jobId"`
	Cluster string   `json:"cluster"`
	User    string   `json:"user"`
	Project string   `json:"project"`
	Hosts   []string `json:"hosts"`
	From    int64    `json:"from"` // Unix seconds
	To      int64    `json:"to"`   // end of the visible time range; for a running job it advances
	Running bool     `json:"running"`
}

// jobs answers /api/jobs: the jobs whose data the caller may query, newest first. With
// ?user=NAME, admin and support get the jobs of another user,
//
//	{"jobs": [{"jobId": 1, "cluster": "emmy", "hosts": ["e0101"], "from": s, "to": e, ...}]}
//
// and with ?cluster=NAME those of one cluster.
func (h *Handler) jobs(w http.ResponseWriter, r *http.Request) error {
	user, cluster, err := jobsQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	reader, p := h.reader(w), exchangeOf(w).principal
	var all []jobs.VisibleJob
	switch {
	case user == "" || p != nil && user == p.JobUser:
		all = reader.Jobs()
	default:
		if err := h.decideOthersJobs(w, r); err != nil {
			return err
		}
		all = reader.JobsOf(user)
	}
	return h.answering(w, r, func(a *answer) error {
		a.raw(`{"jobs":[`)
		first := true
		for i := range all {
			if j := &all[i]; (cluster == "" || j.Cluster == cluster) && (user == "" || j.User == user) {
				a.comma(&first)
				if err := a.job(j); err != nil {
					return err
				}
			}
		}
		a.raw("]}")
		return nil
	})
}

// decideOthersJobs returns nil if the caller may list the jobs of other users. It audits a denial.
func (h *Handler) decideOthersJobs(w http.ResponseWriter, r *http.Request) error {
	x := exchangeOf(w)
	if h.AuthDisabled {
		return nil
	}
	err := h.Policy.DecideOthersJobs(x.principal)
	if denied, ok := errors.AsType[*auth.Denied](err); ok {
		h.auditDenial(x, r, denied.Action, denied.Code)
	}
	return err
}

// jobsQuery reads the parameters. An unknown one is an error, because the caller may rely on it as
// a filter.
func jobsQuery(raw string) (user, cluster string, err error) {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return "", "", badRequest("the query string is malformed")
	}
	for name, v := range values {
		switch {
		case name != "user" && name != "cluster":
			return "", "", badRequest("unknown parameter %q: expected user or cluster", name)
		case len(v) > 1 || v[0] == "":
			return "", "", badRequest("%s: expected one name", name)
		}
	}
	return values.Get("user"), values.Get("cluster"), nil
}

func (a *answer) job(j *jobs.VisibleJob) error {
	s := shownJob{
		JobID: j.ID, Cluster: j.Cluster, User: j.User, Project: j.Project,
		Hosts: make([]string, len(j.Nodes)), From: j.Start, To: j.End, Running: j.Running,
	}
	for i, n := range j.Nodes {
		s.Hosts[i] = n.Host
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	a.buf = append(a.buf, text...)
	return a.more()
}
