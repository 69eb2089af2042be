package auth

import "slices"

// Action is something that a door can be asked for. The zero Action is none and is denied to everyone.
type Action uint8

// What there is to ask for.
const (
	Query Action = iota + 1
	Healthcheck
	Write // REST, the Influx paths, NATS
	Free
	Debug
	Status
	Snapshot
	Profile // pprof
	Metrics // our own, for Prometheus
	OpenAPI
	Whoami
	OwnJobs
)

var actionNames = [...]string{
	Query: "query", Healthcheck: "healthcheck", Write: "write", Free: "free", Debug: "debug", Status: "status",
	Snapshot: "snapshot", Profile: "profile", Metrics: "metrics", OpenAPI: "openapi", Whoami: "whoami", OwnJobs: "own_jobs",
}

// String returns the action's name as the audit writes it, or "" for what is not an action.
func (a Action) String() string {
	if int(a) >= len(actionNames) {
		return ""
	}
	return actionNames[a]
}

// grant is a cell of the role table; the wider one is the greater.
type grant uint8

const (
	no   grant = iota
	jobs       // what the principal's own jobs, and a manager's projects' jobs, ran on
	yes
)

// table is the role table. Its first columns stand in the order of the roles' bits; the last is for every token,
// be it without any role.
var table = [...][len(roleNames) + 1]grant{
	//            admin, api, support, manager, user, none
	Query:       {yes, yes, yes, jobs, jobs, no},
	Healthcheck: {yes, yes, yes, no, no, no},
	Write:       {yes, yes, no, no, no, no},
	Free:        {yes, no, no, no, no, no},
	Debug:       {yes, no, no, no, no, no},
	Status:      {yes, no, no, no, no, no},
	Snapshot:    {yes, no, no, no, no, no},
	Profile:     {yes, no, no, no, no, no},
	Metrics:     {yes, yes, yes, no, no, no},
	OpenAPI:     {yes, yes, yes, no, no, no},
	Whoami:      {yes, yes, yes, yes, yes, yes},
	OwnJobs:     {yes, yes, yes, yes, yes, yes},
}

// Policy decides what a principal may do; nothing else in the program does. The zero Policy is the strict one.
type Policy struct {
	// UsersReadAll lets users and managers query everything.
	UsersReadAll bool
	// JobSource says that somebody knows which jobs are whose: users and managers may query, and see what Sight tells.
	// Without, their queries are denied, unless their token lists resources.
	JobSource bool
}

// Sight is how much of a cluster somebody's queries see.
type Sight uint8

// From nothing, as if nothing were there, over the nodes and times of jobs to everything.
const (
	SeesNothing Sight = iota
	SeesJobs
	SeesAll
)

// String returns the sight as answers write it.
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

// Sight returns how much of a cluster p's queries see.
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

// Sights returns how much p's queries see of the clusters that p is told of by name, where that differs, and of all
// others.
func (policy Policy) Sights(p *Principal) (named map[string]Sight, others Sight) {
	others = policy.Sight(p, "") // which no cluster is called
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

// scope is what of the store an action shows or touches.
type scope uint8

const (
	oneCluster  scope = iota // what it is asked for: a role counts where it holds
	wholeStore               // every cluster at once: a role counts if it holds everywhere
	noneOfStore              // nothing: a role counts wherever it holds
)

// scopes of the actions; those not listed are about one cluster.
var scopes = [...]scope{
	Debug: wholeStore, Status: wholeStore, Snapshot: wholeStore, Profile: wholeStore, Metrics: wholeStore,
	OpenAPI: noneOfStore, Whoami: noneOfStore, OwnJobs: oneCluster,
}

// Decide returns nil when p may do a, on some cluster at least, and a *Denied otherwise. A nil principal may do nothing.
// Where an action is about one cluster, DecideOn must be asked as well.
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

// DecideOn returns nil when p may do a on the cluster, and a *Denied otherwise: OtherCluster, when it may elsewhere. A
// door answers a query with that as if nothing were there, and refuses a line.
func (policy Policy) DecideOn(p *Principal, a Action, cluster string) error {
	if err := policy.Decide(p, a); err != nil || scopes[a] != oneCluster {
		return err
	}
	return policy.decide(p, a, p.RolesOn(cluster))
}

// Clusters returns where p may do a: everywhere, for an action that is about no cluster.
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

// named lists the clusters that p is told of by name, sorted.
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

// All reports whether every cluster is in the set, those not yet known too.
func (s ClusterSet) All() bool { return s.all }

// Has reports whether the cluster is in the set.
func (s ClusterSet) Has(cluster string) bool {
	if s.all {
		return true
	}
	_, found := slices.BinarySearch(s.names, cluster)
	return found
}

// Names lists a set that is not of all clusters, sorted. The caller must not change it.
func (s ClusterSet) Names() []string { return s.names }

// decide goes by those of p's roles that count for the question.
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

// widest is the union of what the roles grant to somebody who has all of them, on some cluster or other. For a query
// api counts only as the sole role (cc-backend's rule): next to a user's or manager's role it must not widen what that
// person sees, next to admin or support it need not.
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
