package auth

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
	// UsersReadAll lets users and managers query everything. There is no job source yet that could tell what is
	// theirs, so without it their queries are denied.
	UsersReadAll bool
}

// Decide returns nil when p may do a, and a *Denied otherwise. A nil principal may do nothing.
func (policy Policy) Decide(p *Principal, a Action) error {
	if p == nil {
		return &Denied{Action: a, Code: InsufficientRole}
	}
	switch g := widest(p.Roles, a); {
	case g == yes, g == jobs && policy.UsersReadAll:
		return nil
	case g == jobs:
		return &Denied{Action: a, Code: NoJobSource}
	default:
		return &Denied{Action: a, Code: InsufficientRole}
	}
}

// widest is the union of what the roles grant. For a query api counts only as the sole role (cc-backend's rule):
// next to a user's or manager's role it must not widen what that person sees, next to admin or support it need not.
func widest(roles Roles, a Action) grant {
	if int(a) >= len(table) {
		return no
	}
	if a == Query && roles != API {
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
