package jobs

import (
	"cmp"
	"math"
	"slices"
)

// View shows the jobs of one user and of some projects. Each method reads the current state of the
// index. The zero View shows nothing.
type View struct {
	ix       *Index
	user     string
	projects []string
}

// View returns a view of a user's jobs and of the jobs of some projects. An empty user owns no
// jobs.
func (ix *Index) View(user string, projects []string) View { return View{ix, user, projects} }

// Grant is a visible time range of a host.
type Grant struct {
	From, To int64    // Unix seconds, [From, To)
	Devices  *Devices // nil: the whole host
}

// Grants returns the visible time ranges of a host, unsorted; they may overlap. The cost depends on
// the jobs of the view only, so that it tells nothing about other users' jobs.
func (v View) Grants(cluster, host string) (grants []Grant) {
	v.visit(func(t *tables, at moment, u *owned, project uint32) {
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

// Hosts returns the hosts of a cluster that have a visible time range, sorted.
func (v View) Hosts(cluster string) (hosts []string) {
	v.visit(func(t *tables, at moment, u *owned, project uint32) {
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

// Clusters returns the clusters of the view's jobs, sorted.
func (v View) Clusters() (clusters []string) {
	v.visit(func(t *tables, _ moment, u *owned, project uint32) {
		for _, i := range u.intervals {
			if row := &t.jobs[i.job]; row.isIn(project) {
				clusters = append(clusters, t.clusters[row.cluster])
			}
		}
	})
	slices.Sort(clusters)
	return slices.Compact(clusters)
}

// VisibleJob is a job as a view shows it.
type VisibleJob struct {
	Job          // Nodes are sorted by host; End of a running job is when it was last seen
	Running bool // not known to have ended
}

// Jobs returns the jobs of the view, newest first.
func (v View) Jobs() (all []VisibleJob) {
	v.visit(func(t *tables, at moment, u *owned, project uint32) {
		place := make(map[uint32]int)
		for _, i := range u.intervals {
			row := &t.jobs[i.job]
			if !row.isIn(project) {
				continue
			}
			n, ok := place[i.job]
			if !ok {
				n = len(all)
				place[i.job] = n
				j := t.job(row)
				j.End = max(j.Start, min(at.endOf(row), max(at.now, int64(row.end))))
				all = append(all, VisibleJob{Job: j, Running: row.flags&(open|superseded) == open})
			}
			all[n].Nodes = append(all[n].Nodes, t.node(i))
		}
	})
	for i := range all {
		slices.SortFunc(all[i].Nodes, func(a, b Node) int { return cmp.Compare(a.Host, b.Host) })
	}
	slices.SortFunc(all, func(a, b VisibleJob) int {
		return cmp.Or(cmp.Compare(b.Start, a.Start), a.Key().compare(b.Key()))
	})
	return slices.CompactFunc(all, func(a, b VisibleJob) bool { return a.Key() == b.Key() })
}

func (k Key) compare(o Key) int {
	return cmp.Or(cmp.Compare(k.Cluster, o.Cluster), cmp.Compare(k.Start, o.Start), cmp.Compare(k.ID, o.ID))
}

// anyProject matches every project.
const anyProject = math.MaxUint32

// isIn reports whether a job is one of a project and was not replaced by a later report.
func (j *job) isIn(project uint32) bool {
	return j.flags&replaced == 0 && (project == anyProject || j.project == project)
}

// visit calls f with the user's own jobs of all projects, and for each project of the view with
// every user who has jobs in it.
func (v View) visit(f func(t *tables, at moment, u *owned, project uint32)) {
	if v.ix == nil {
		return
	}
	v.ix.mu.RLock()
	defer v.ix.mu.RUnlock()
	t, at := v.ix.t, v.ix.present()
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

// grant returns the grant of an interval, if its job is of the project and the time range is not
// empty.
func (t *tables) grant(i interval, at moment, project uint32) (Grant, bool) {
	row := &t.jobs[i.job]
	if row.flags&replaced != 0 || project != anyProject && row.project != project {
		return Grant{}, false
	}
	g := Grant{From: int64(row.start), To: at.endOf(row), Devices: t.devices[i.devices]}
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

// moment is a time, and the end that live jobs have at this time. Both are Unix seconds.
type moment struct{ now, liveEnd int64 }

// present returns the current moment. The caller holds mu. Live jobs have no end unless the event
// source has been silent for too long.
func (ix *Index) present() moment {
	now := ix.o.Now().Unix()
	if now-ix.aliveAt > int64(ix.o.MaxStaleness.Seconds()) {
		return moment{now, ix.aliveAt}
	}
	return moment{now, math.MaxInt64 / 1000} // does not overflow in milliseconds
}

func (at moment) endOf(row *job) int64 {
	if row.flags&(open|live) == open|live {
		return max(int64(row.end), at.liveEnd)
	}
	return int64(row.end)
}
