package jobs

import (
	"cmp"
	"math"
	"slices"
)

// View is what one person may see: own jobs, and those of some projects. It shows
// the index as it is when it is asked. The zero View shows nothing.
type View struct {
	ix       *Index
	user     string
	projects []string
}

// View returns the view of the jobs that a user owns, who has none if that is
// empty, and of the jobs of some projects.
func (ix *Index) View(user string, projects []string) View { return View{ix, user, projects} }

// Grant is a time on a host that may be seen.
type Grant struct {
	From, To int64    // Unix seconds, [From, To)
	Devices  *Devices // nil: all of the host
}

// Grants returns what may be seen of a host, in no order; times may overlap. What
// it costs goes by the view's own jobs, never by others'.
func (v View) Grants(cluster, host string) (grants []Grant) {
	v.look(func(t *tables, at moment, u *owned, project uint32) {
		number, ok := t.hostNumber(cluster, host)
		if !ok {
			return
		}
		for _, i := range u.on(number) {
			if g, ok := t.grant(i, at, project); ok {
				grants = append(grants, g)
			}
		}
	})
	return grants
}

// Hosts returns the names of a cluster's hosts that something may be seen of,
// sorted.
func (v View) Hosts(cluster string) (hosts []string) {
	v.look(func(t *tables, at moment, u *owned, project uint32) {
		number, ok := t.clusterIDs[cluster]
		if !ok {
			return
		}
		last := uint32(math.MaxUint32)
		for _, i := range u.intervals {
			if i.host == last || t.hosts[i.host].cluster != number {
				continue
			}
			if _, ok := t.grant(i, at, project); ok {
				hosts, last = append(hosts, t.names[t.hosts[i.host].name]), i.host
			}
		}
	})
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

// Shown is a job as its view shows it.
type Shown struct {
	Job          // Nodes sorted by host; End is when it was last seen, of a running one
	Running bool // not known to be over
}

// Jobs returns the jobs of the view, the latest first.
func (v View) Jobs() (all []Shown) {
	v.look(func(t *tables, at moment, u *owned, project uint32) {
		place := make(map[uint32]int)
		for _, i := range u.intervals {
			row := &t.jobs[i.job]
			if row.flags&moved != 0 || project != anyProject && row.project != project {
				continue
			}
			n, ok := place[i.job]
			if !ok {
				n = len(all)
				place[i.job] = n
				j := t.job(row)
				j.End = max(j.Start, min(at.end(row), max(at.now, int64(row.end))))
				all = append(all, Shown{Job: j, Running: row.flags&open != 0})
			}
			all[n].Nodes = append(all[n].Nodes, t.node(i))
		}
	})
	for i := range all {
		slices.SortFunc(all[i].Nodes, func(a, b Node) int { return cmp.Compare(a.Host, b.Host) })
	}
	slices.SortFunc(all, func(a, b Shown) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), a.Key().compare(b.Key()))
	})
	return slices.CompactFunc(all, func(a, b Shown) bool { return a.Key() == b.Key() })
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Cluster, o.Cluster), cmp.Compare(k.Start, o.Start), cmp.Compare(k.ID, o.ID))
}

// anyProject stands for every project.
const anyProject = math.MaxUint32

// look calls f with what the user owns, and with what others own of each project.
func (v View) look(f func(t *tables, at moment, u *owned, project uint32)) {
	if v.ix == nil {
		return
	}
	v.ix.mu.RLock()
	defer v.ix.mu.RUnlock()
	t, at := v.ix.t, v.ix.moment()
	if user, ok := t.nameIDs[v.user]; ok && v.user != "" && t.users[user] != nil {
		f(t, at, t.users[user], anyProject)
	}
	for _, name := range v.projects {
		project, ok := t.nameIDs[name]
		if !ok || name == "" {
			continue
		}
		for user := range t.projects[project] {
			f(t, at, t.users[user], project)
		}
	}
}

func (t *tables) hostNumber(cluster, host string) (uint32, bool) {
	c, known := t.clusterIDs[cluster]
	h, also := t.nameIDs[host]
	if !known || !also {
		return 0, false
	}
	n, ok := t.hostIDs[hostName{c, h}]
	return n, ok
}

// grant returns what an interval shows to who may see a project.
func (t *tables) grant(i interval, at moment, project uint32) (Grant, bool) {
	row := &t.jobs[i.job]
	if row.flags&moved != 0 || project != anyProject && row.project != project {
		return Grant{}, false
	}
	g := Grant{From: int64(row.start), To: at.end(row), Devices: t.devices[i.devices]}
	return g, g.From < g.To
}

func (t *tables) job(row *job) Job {
	return Job{
		ID: row.id, Cluster: t.clusters[row.cluster], User: t.names[row.user], Project: t.names[row.project],
		Start: int64(row.start), End: int64(row.end),
	}
}

func (t *tables) node(i interval) Node {
	return Node{Host: t.names[t.hosts[i.host].name], Devices: t.devices[i.devices]}
}

// moment says when jobs end that only events keep open.
type moment struct{ now, live int64 }

// moment returns the present one; mu is held.
func (ix *Index) moment() moment {
	now := ix.o.Now().Unix()
	if now-ix.alive > int64(ix.o.MaxStaleness.Seconds()) {
		return moment{now, ix.alive}
	}
	return moment{now, math.MaxInt64 / 1000} // which milliseconds do not overflow
}

func (at moment) end(row *job) int64 {
	if row.flags&(open|live) == open|live {
		return max(int64(row.end), at.live)
	}
	return int64(row.end)
}
