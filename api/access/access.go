// Package access is the one place where what somebody may see becomes what is
// read: it stands before the store and answers a principal as a store would that
// holds only the samples which that principal may see.
//
// It asks package auth how much of a cluster that is, package jobs which hosts,
// devices and times a person's jobs had, and hands this to the store before
// anything is looked up. A host that may not be seen is not asked for at all: a
// host that nobody has is, so that neither answers, errors, counts nor the work
// done tell whether there is one. It knows no HTTP.
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

// Store is what is read; [memstore.Store] is one.
type Store interface {
	Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error)
	Points(cluster, host, metric string, r memstore.Range) int
	Hosts(cluster string) []string
	Holds(cluster, host string, visible memstore.Visibility) (bool, error)
	Health(cluster, host string, metrics []string) memstore.Health
}

// Options of a [Gate]. Store is required.
type Options struct {
	Store  Store
	Policy auth.Policy
	Jobs   *jobs.Index // nil: nobody knows whose jobs ran where

	// SharedNodeMetrics lets who has a job on a node that is shared see the metrics
	// of the node as a whole, which are others' too.
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

// Reader answers one principal's questions, of one request and one goroutine.
// What it found out about a host it does not ask again.
type Reader struct {
	o    Options
	all  bool
	p    *auth.Principal
	own  jobs.View
	team jobs.View // own and that of the projects

	sights  map[string]auth.Sight // by cluster
	hosts   map[place]*memstore.Visibility
	granted map[place][]jobs.Grant // by the token itself
}

type place struct{ cluster, host string }

// nobody is a host that is not there: names are not empty.
var nobody = place{}

// All returns a reader that sees everything.
func (g *Gate) All() *Reader { return &Reader{o: g.o, all: true} }

// For returns a principal's reader. A nil principal sees nothing.
func (g *Gate) For(p *auth.Principal) *Reader {
	r := &Reader{o: g.o, p: p, sights: make(map[string]auth.Sight), hosts: make(map[place]*memstore.Visibility)}
	if p == nil {
		return r
	}
	if g.o.Jobs != nil {
		r.own, r.team = g.o.Jobs.View(p.JobUser, nil), g.o.Jobs.View(p.JobUser, p.Projects)
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

// view returns the jobs that the principal may see of a cluster.
func (r *Reader) view(cluster string) jobs.View {
	if r.p.RolesOn(cluster).Has(auth.Manager) {
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

// Points returns how many values a read would answer at the most.
func (r *Reader) Points(cluster, host, metric string, rg memstore.Range) int {
	at, _ := r.find(cluster, host)
	return r.o.Store.Points(at.cluster, at.host, metric, rg)
}

// Hosts returns the hosts of a cluster of which there is something to be seen,
// sorted.
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

// Health looks at a host, where the principal may do that.
func (r *Reader) Health(cluster, host string, metrics []string) memstore.Health {
	if !r.all && r.o.Policy.DecideOn(r.p, auth.Healthcheck, cluster) != nil {
		cluster, host = nobody.cluster, nobody.host
	}
	return r.o.Store.Health(cluster, host, metrics)
}

// Jobs returns the jobs that the principal may query, the latest first.
func (r *Reader) Jobs() []jobs.VisibleJob {
	if r.p == nil {
		return nil
	}
	return slices.DeleteFunc(r.team.Jobs(), func(j jobs.VisibleJob) bool {
		roles := r.p.RolesOn(j.Cluster)
		return r.o.Policy.DecideOn(r.p, auth.OwnJobs, j.Cluster) != nil || j.User != r.p.JobUser && !roles.Has(auth.Manager)
	})
}

// JobsOf returns somebody's jobs on the clusters where the principal is admin or
// support.
func (r *Reader) JobsOf(user string) []jobs.VisibleJob {
	if r.o.Jobs == nil {
		return nil
	}
	return slices.DeleteFunc(r.o.Jobs.View(user, nil).Jobs(), func(j jobs.VisibleJob) bool {
		return !r.all && r.p.RolesOn(j.Cluster)&(auth.Admin|auth.Support) == 0
	})
}

// find returns where to look for a host, and what of it may be read; nil is all.
func (r *Reader) find(cluster, host string) (place, memstore.Visibility) {
	switch r.sight(cluster) {
	case auth.SeesAll:
		return place{cluster, host}, nil
	case auth.SeesNothing:
		return nobody, nil
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
		return nobody, nil
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

// union puts spans in order and together that touch.
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
