// Package access restricts reads to the data that a principal may see. It wraps the store and
// answers as if the store held only the samples that this principal may see. No other package
// decides that.
//
// Package auth decides how much of a cluster the principal sees. Package jobs knows the hosts,
// devices and times of its jobs. Both become a restriction that the store applies before any
// lookup. For a hidden host the store is asked for a host that cannot exist, so answers, errors,
// counts and durations do not reveal whether the hidden host exists. The package knows no HTTP.
package access

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/memstore"
)

// Store is the store to read from; [memstore.Store] implements it.
type Store interface {
	Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error)
	Cost(sel memstore.Selection, r memstore.Range) int
	Clusters() []string
	Hosts(cluster string) []string
	Find(dst []memstore.Found, cluster, host string, keep func(metric string) bool, t memstore.Span, visible memstore.Visibility) ([]memstore.Found, error)
	Holds(cluster, host string, visible memstore.Visibility) (bool, error)
	Health(cluster, host string, metrics []string) memstore.Health
}

// Options of a [Gate]. Store is required.
type Options struct {
	Store  Store
	Policy auth.Policy
	Jobs   *jobs.Index // nil means that there is no job source

	// SharedNodeMetrics shows the metrics of a whole node to every user with a job on it, even if
	// jobs of other users share the node.
	SharedNodeMetrics bool
}

// Gate makes readers. It is safe for concurrent use.
type Gate struct{ o Options }

// New returns a gate.
func New(o Options) (*Gate, error) {
	if o.Store == nil {
		return nil, errors.New("access: a Store is required")
	}
	return &Gate{o}, nil
}

// Reader reads on behalf of one principal. It is for one request and one goroutine, and caches the
// permissions that it looks up.
type Reader struct {
	o    Options
	all  bool
	p    *auth.Principal
	own  jobs.View
	team jobs.View // own jobs and those of the projects

	sights  map[string]auth.Sight // by cluster
	hosts   map[place]*memstore.Visibility
	granted map[place][]jobs.Grant // by the token, in addition to jobs
}

type place struct{ cluster, host string }

// noHost is a host that cannot exist, because names are not empty.
var noHost = place{}

// All returns a reader that sees everything.
func (g *Gate) All() *Reader { return &Reader{o: g.o, all: true} }

// For returns a principal's reader. A nil principal sees nothing.
func (g *Gate) For(p *auth.Principal) *Reader {
	r := &Reader{o: g.o, p: p, sights: make(map[string]auth.Sight), hosts: make(map[place]*memstore.Visibility)}
	if p == nil {
		return r
	}
	if g.o.Jobs != nil {
		r.own, r.team = g.o.Jobs.View(p.JobUser, nil), g.o.Jobs.View(p.JobUser, g.o.Jobs.Projects(p.JobUser, p.Projects))
	}
	for _, granted := range p.Resources {
		if r.granted == nil {
			r.granted = make(map[place][]jobs.Grant)
		}
		for _, host := range granted.Hosts {
			at := place{granted.Cluster, host}
			r.granted[at] = append(r.granted[at], jobs.Grant{From: granted.From, To: granted.To})
		}
	}
	return r
}

// Fork returns a reader for another goroutine on behalf of the same principal.
func (r *Reader) Fork() *Reader {
	fork := *r
	fork.sights, fork.hosts = make(map[string]auth.Sight), make(map[place]*memstore.Visibility)
	return &fork
}

func (r *Reader) sight(cluster string) auth.Sight {
	if r.all {
		return auth.SeesAll
	}
	s, ok := r.sights[cluster]
	if !ok {
		s = r.o.Policy.Sight(r.p, cluster)
		r.sights[cluster] = s
	}
	return s
}

// view returns the jobs on a cluster whose data the principal may see.
func (r *Reader) view(cluster string) jobs.View {
	if r.o.Policy.SeesProjectJobs(r.p, cluster) {
		return r.team
	}
	return r.own
}

// Read answers a selection, as [memstore.Store.Read] does.
func (r *Reader) Read(ctx context.Context, sel memstore.Selection, rg memstore.Range) (memstore.Data, error) {
	var at place
	at, rg.Visible = r.find(sel.Cluster, sel.Host)
	sel.Cluster, sel.Host = at.cluster, at.host
	return r.o.Store.Read(ctx, sel, rg)
}

// Cost returns how many values Read reads, as [memstore.Store.Cost] does.
func (r *Reader) Cost(sel memstore.Selection, rg memstore.Range) int {
	var at place
	at, rg.Visible = r.find(sel.Cluster, sel.Host)
	sel.Cluster, sel.Host = at.cluster, at.host
	return r.o.Store.Cost(sel, rg)
}

// HasServiceRole reports whether the principal reads all of a cluster by its roles: as admin,
// support, or api alone.
func (r *Reader) HasServiceRole(cluster string) bool {
	if r.all {
		return true
	}
	policy := r.o.Policy
	policy.UsersReadAll = false
	return policy.Sight(r.p, cluster) == auth.SeesAll
}

// Clusters returns the clusters of which the principal may see something, sorted. Of some it may
// have no data to see.
func (r *Reader) Clusters() []string {
	var all []string
	if r.all {
		return r.o.Store.Clusters()
	}
	for _, cluster := range r.o.Store.Clusters() {
		if r.sight(cluster) == auth.SeesAll {
			all = append(all, cluster)
		}
	}
	own := r.team.Clusters()
	for at := range r.granted {
		own = append(own, at.cluster)
	}
	slices.Sort(own)
	for _, cluster := range slices.Compact(own) {
		if s := r.sight(cluster); s != auth.SeesAll && s != auth.SeesNothing {
			all = append(all, cluster)
		}
	}
	slices.Sort(all)
	return all
}

// Find appends the series of a host with a visible sample within t, as [memstore.Store.Find] does.
func (r *Reader) Find(dst []memstore.Found, cluster, host string, keep func(metric string) bool, t memstore.Span) ([]memstore.Found, error) {
	at, visible := r.find(cluster, host)
	return r.o.Store.Find(dst, at.cluster, at.host, keep, t, visible)
}

// Hosts returns the hosts of a cluster with data that the principal may see, sorted.
func (r *Reader) Hosts(cluster string) ([]string, error) {
	switch r.sight(cluster) {
	case auth.SeesAll:
		return r.o.Store.Hosts(cluster), nil
	case auth.SeesNothing:
		return nil, nil
	}
	hosts := r.view(cluster).Hosts(cluster)
	for at := range r.granted {
		if at.cluster == cluster {
			hosts = append(hosts, at.host)
		}
	}
	slices.Sort(hosts)
	held := hosts[:0]
	for _, host := range slices.Compact(hosts) {
		at, visible := r.find(cluster, host)
		ok, err := r.o.Store.Holds(at.cluster, at.host, visible)
		if err != nil {
			return nil, err
		}
		if ok {
			held = append(held, host)
		}
	}
	return held, nil
}

// Health checks a host, if the principal may do that.
func (r *Reader) Health(cluster, host string, metrics []string) memstore.Health {
	if !r.all && r.o.Policy.DecideOn(r.p, auth.Healthcheck, cluster) != nil {
		cluster, host = noHost.cluster, noHost.host
	}
	return r.o.Store.Health(cluster, host, metrics)
}

// Jobs returns the jobs that the principal may query, newest first.
func (r *Reader) Jobs() []jobs.VisibleJob {
	if r.p == nil {
		return nil
	}
	return slices.DeleteFunc(r.team.Jobs(), func(j jobs.VisibleJob) bool {
		visible := j.User == r.p.JobUser || r.o.Policy.SeesProjectJobs(r.p, j.Cluster)
		return !visible || r.o.Policy.DecideOn(r.p, auth.OwnJobs, j.Cluster) != nil
	})
}

// JobsOf returns the jobs of a user on the clusters where the principal is admin or support.
func (r *Reader) JobsOf(user string) []jobs.VisibleJob {
	if r.o.Jobs == nil {
		return nil
	}
	return slices.DeleteFunc(r.o.Jobs.View(user, nil).Jobs(), func(j jobs.VisibleJob) bool {
		return !r.all && !r.o.Policy.SeesOthersJobs(r.p, j.Cluster)
	})
}

// find returns the host to read and the visible part of it. A nil visibility means all of it.
func (r *Reader) find(cluster, host string) (place, memstore.Visibility) {
	switch r.sight(cluster) {
	case auth.SeesAll:
		return place{cluster, host}, nil
	case auth.SeesNothing:
		return noHost, nil
	}
	at := place{cluster, host}
	visible, known := r.hosts[at]
	if !known {
		if grants := slices.Concat(r.view(cluster).Grants(cluster, host), r.granted[at]); len(grants) > 0 {
			visible = new(r.visibility(grants))
		}
		r.hosts[at] = visible
	}
	if visible == nil {
		return noHost, nil
	}
	return at, *visible
}

// visibility turns grants into what the store asks for each device.
func (r *Reader) visibility(grants []jobs.Grant) memstore.Visibility {
	var whole []memstore.Span
	var shared []jobs.Grant
	for _, g := range grants {
		if g.Devices == nil {
			whole = append(whole, spanOf(g))
		} else {
			shared = append(shared, g)
		}
	}
	whole = union(whole)
	if len(shared) == 0 {
		return func(memstore.Device) []memstore.Span { return whole }
	}
	found := make(map[place][]memstore.Span) // by type and type-id
	return func(d memstore.Device) []memstore.Span {
		device := place{d.Type, d.TypeID}
		spans, known := found[device]
		if !known {
			spans = slices.Clone(whole)
			for _, g := range shared {
				if d.Type == "" && r.o.SharedNodeMetrics || g.Devices.Has(d.Type, d.TypeID) {
					spans = append(spans, spanOf(g))
				}
			}
			spans = union(spans)
			found[device] = spans
		}
		return spans
	}
}

func spanOf(g jobs.Grant) memstore.Span { return memstore.Span{From: g.From * 1000, To: g.To * 1000} }

// union sorts spans and joins those that touch.
func union(spans []memstore.Span) []memstore.Span {
	slices.SortFunc(spans, func(a, b memstore.Span) int { return cmp.Compare(a.From, b.From) })
	joined := spans[:0]
	for _, s := range spans {
		if n := len(joined); n > 0 && s.From <= joined[n-1].To {
			joined[n-1].To = max(joined[n-1].To, s.To)
			continue
		}
		joined = append(joined, s)
	}
	return joined
}
