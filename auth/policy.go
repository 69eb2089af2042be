package auth

import "slices"

// Action is an operation that needs permission. The zero Action is invalid and is denied to
// everyone.
type Action uint8

// The actions. Those up to OwnJobs have a row in the role table.
const (
	Query Action = iota + 1
	Healthcheck
	Write // REST, the Influx paths, NATS
	Free
	Debug
	Status
	Snapshot
	ConfirmClock
	Profile // pprof
	Metrics // of the service itself, for Prometheus
	OpenAPI
	Whoami
	OwnJobs
	Reload // of the configuration, by a signal: no token permits it
)

var actionNames = [...]string{
	Query: "query", Healthcheck: "healthcheck", Write: "write", Free: "free", Debug: "debug", Status: "status",
	Snapshot: "snapshot", ConfirmClock: "confirm_clock", Profile: "profile", Metrics: "metrics", OpenAPI: "openapi", Whoami: "whoami", OwnJobs: "own_jobs", Reload: "reload",
}

// String returns the action's name as the audit writes it, "" for an invalid action.
func (a Action) String() string {
	if int(a) >= len(actionNames) {
		return ""
	}
	return actionNames[a]
}

// IsAdministrative reports whether the audit also records that the action was performed: it deletes
// or copies data, changes what the server accepts, or shows the inside of the process.
func (a Action) IsAdministrative() bool {
	return a == Free || a == Debug || a == Snapshot || a == ConfirmClock || a == Profile || a == Reload
}

// grant is a cell of the role table. Grants are ordered: a wider one is greater.
type grant uint8

const (
	no   grant = iota
	jobs       // only the hosts and times of own jobs, for managers also of their projects' jobs
	yes
)

// table is the role table. Its first columns are in the order of the role bits; the last one
// applies to every token, also without roles.
var table = [...][len(roleNames) + 1]grant{
	//            admin, api, support, manager, user, none
	Query:        {yes, yes, yes, jobs, jobs, no},
	Healthcheck:  {yes, yes, yes, no, no, no},
	Write:        {yes, yes, no, no, no, no},
	Free:         {yes, no, no, no, no, no},
	Debug:        {yes, no, no, no, no, no},
	Status:       {yes, no, no, no, no, no},
	Snapshot:     {yes, no, no, no, no, no},
	ConfirmClock: {yes, no, no, no, no, no},
	Profile:      {yes, no, no, no, no, no},
	Metrics:      {yes, yes, yes, no, no, no},
	OpenAPI:      {yes, yes, yes, no, no, no},
	Whoami:       {yes, yes, yes, yes, yes, yes},
	OwnJobs:      {yes, yes, yes, yes, yes, yes},
}

// Policy decides what a principal may do. No code outside this file decides by roles. The zero
// Policy is the strictest.
type Policy struct {
	// UsersReadAll lets users and managers query everything.
	UsersReadAll bool
	// JobSource says that a job source is configured, so users and managers may query within the
	// limits of Sight. Without one, their queries are denied, unless their token lists resources.
	JobSource bool
}

// Sight is how much of a cluster's data a principal's queries return.
type Sight uint8

// The sights, from least to most.
const (
	SeesNothing Sight = iota // as if the cluster did not exist
	SeesJobs                 // the hosts and times of the principal's jobs
	SeesAll
)

// String returns the sight as API responses write it.
func (s Sight) String() string {
	switch s {
	case SeesAll:
		return "all"
	case SeesJobs:
		return "own-jobs"
	default:
		return "nothing"
	}
}

// Sight returns how much of a cluster's data p's queries return.
func (policy Policy) Sight(p *Principal, cluster string) Sight {
	switch {
	case policy.DecideOn(p, Query, cluster) != nil:
		return SeesNothing
	case policy.UsersReadAll, widest(p.Roles, p.RolesOn(cluster), Query) == yes:
		return SeesAll
	default:
		return SeesJobs
	}
}

// Sights returns p's sight of all clusters: others is the general one, and named holds the clusters
// of p's restrictions whose sight differs from it.
func (policy Policy) Sights(p *Principal) (named map[string]Sight, others Sight) {
	others = policy.Sight(p, "") // no cluster has an empty name
	named = make(map[string]Sight)
	if p == nil {
		return named, others
	}
	for _, cluster := range p.named() {
		if s := policy.Sight(p, cluster); s != others {
			named[cluster] = s
		}
	}
	return named, others
}

// IsService reports whether p's roles let it read all data of at least one cluster: those of admin,
// support, and api alone.
func (Policy) IsService(p *Principal) bool {
	named, others := Policy{}.Sights(p)
	for _, s := range named {
		others = max(others, s)
	}
	return others == SeesAll
}

// The rules on jobs that are not an action of their own.
const (
	seeOthersJobs  = Admin | Support // list the jobs of any user
	seeProjectJobs = Manager         // see the jobs of the principal's projects as its own
	reportJobs     = Admin           // report what runs where, beside the configured publishers
)

// DecideOthersJobs returns nil if p may list the jobs of other users on at least one cluster, and a
// *Denied otherwise. Callers must also ask SeesOthersJobs for each cluster.
func (Policy) DecideOthersJobs(p *Principal) error {
	if p == nil || p.Roles&seeOthersJobs == 0 {
		return &Denied{Action: OwnJobs, Code: InsufficientRole}
	}
	return nil
}

// SeesOthersJobs reports whether p may list the jobs of other users on a cluster.
func (Policy) SeesOthersJobs(p *Principal, cluster string) bool {
	return p.RolesOn(cluster)&seeOthersJobs != 0
}

// SeesProjectJobs reports whether the jobs of p's projects on a cluster count as its own.
func (Policy) SeesProjectJobs(p *Principal, cluster string) bool {
	return p.RolesOn(cluster)&seeProjectJobs != 0
}

// ReportsJobs reports whether p's roles permit to report jobs on at least one cluster.
func (Policy) ReportsJobs(p *Principal) bool { return p.Roles&reportJobs != 0 }

// ReportsJobsOn reports whether p's roles permit to report jobs of a cluster.
func (Policy) ReportsJobsOn(p *Principal, cluster string) bool {
	return p.RolesOn(cluster)&reportJobs != 0
}

// Unauthenticated returns the principal of every caller while authentication is disabled. It may do
// everything.
func Unauthenticated() *Principal { return &Principal{Roles: Admin} }

// scope is the part of the store that an action reads or changes.
type scope uint8

const (
	oneCluster  scope = iota // a role counts on the clusters where it holds
	wholeStore               // a role counts only if it holds on every cluster
	noneOfStore              // a role counts wherever it holds
)

// scopes of the actions; the default is oneCluster.
var scopes = [...]scope{
	Debug: wholeStore, Status: wholeStore, Snapshot: wholeStore, ConfirmClock: wholeStore, Profile: wholeStore, Metrics: wholeStore,
	OpenAPI: noneOfStore, Whoami: noneOfStore, OwnJobs: oneCluster,
}

// Decide returns nil if p may do a on at least one cluster, and a *Denied otherwise. A nil
// principal may do nothing. For an action that concerns one cluster, callers must also call
// DecideOn.
func (policy Policy) Decide(p *Principal, a Action) error {
	if p == nil || int(a) >= len(scopes) {
		return &Denied{Action: a, Code: InsufficientRole}
	}
	switch scopes[a] {
	case wholeStore:
		return policy.decide(p, a, p.rolesEverywhere())
	case noneOfStore:
		return policy.decide(p, a, p.Roles)
	default:
		return policy.decide(p, a, p.rolesAnywhere())
	}
}

// DecideOn returns nil if p may do a on the cluster, and a *Denied otherwise, with OtherCluster if
// p may do it elsewhere. On OtherCluster, APIs answer a query as if the cluster had no data, and
// refuse a line.
func (policy Policy) DecideOn(p *Principal, a Action, cluster string) error {
	if err := policy.Decide(p, a); err != nil || scopes[a] != oneCluster {
		return err
	}
	return policy.decide(p, a, p.RolesOn(cluster))
}

// Clusters returns the clusters on which p may do a: all, for an action that concerns no single
// cluster.
func (policy Policy) Clusters(p *Principal, a Action) ClusterSet {
	switch {
	case policy.Decide(p, a) != nil:
		return ClusterSet{}
	case scopes[a] != oneCluster, policy.decide(p, a, p.rolesEverywhere()) == nil:
		return ClusterSet{all: true}
	}
	return ClusterSet{names: slices.DeleteFunc(p.named(), func(cluster string) bool {
		return policy.DecideOn(p, a, cluster) != nil
	})}
}

// named lists the clusters that p's restrictions name, sorted.
func (p *Principal) named() []string {
	named := slices.Clone(p.Clusters)
	for _, l := range p.Limited {
		named = append(named, l.Clusters...)
	}
	slices.Sort(named)
	return slices.Compact(named)
}

// ClusterSet is a set of clusters; the zero one is empty. It is safe for concurrent use.
type ClusterSet struct {
	all   bool
	names []string // sorted
}

// All reports whether every cluster is in the set, including future ones.
func (s ClusterSet) All() bool { return s.all }

// Has reports whether the cluster is in the set.
func (s ClusterSet) Has(cluster string) bool {
	if s.all {
		return true
	}
	_, found := slices.BinarySearch(s.names, cluster)
	return found
}

// Names lists the clusters, sorted; it is empty if All. The caller must not change the list.
func (s ClusterSet) Names() []string { return s.names }

// decide decides by roles, those of p's roles that count in this case.
func (policy Policy) decide(p *Principal, a Action, roles Roles) error {
	switch g := widest(p.Roles, roles, a); {
	case g == yes, g == jobs && (policy.UsersReadAll || policy.JobSource || len(p.Resources) > 0):
		return nil
	case g == jobs:
		return &Denied{Action: a, Code: NoJobSource}
	case widest(p.Roles, p.Roles, a) > g:
		return &Denied{Action: a, Code: OtherCluster}
	default:
		return &Denied{Action: a, Code: InsufficientRole}
	}
}

// widest returns the widest grant of roles to a principal whose roles on any cluster are all. For a
// query, api counts only as the sole role (cc-backend's rule): it must not widen what a user or
// manager sees, and admin and support see everything anyway.
func widest(all, roles Roles, a Action) grant {
	if int(a) >= len(table) {
		return no
	}
	if a == Query && all != API {
		roles &^= API
	}
	row := table[a]
	g := row[len(roleNames)]
	for i := range roleNames {
		if roles.Has(1 << i) {
			g = max(g, row[i])
		}
	}
	return g
}
