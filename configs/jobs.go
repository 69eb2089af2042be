package configs

import (
	"cmp"
	"net/url"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
)

// Jobs is "auth.jobs": the job sources. With at least one, users and managers see the data of their
// jobs.
type Jobs struct {
	Backend BackendJobs `json:"backend"`
	// NATS is a subject with job events; nil: none.
	NATS *NATSJobs `json:"nats"`
	// ProjectsFile has projects of users, such as {"ann": ["p1", "p2"]}, in addition to those of
	// their tokens; empty: none. It is read again when it changes.
	ProjectsFile string `json:"projects-file"`
	// MaxStaleness is how long a source may be silent. After that the silence is reported, and
	// running jobs that only events keep open end when it began. Default 10 minutes.
	MaxStaleness time.Duration `json:"max-staleness"`
	// SharedNodeMetrics shows the metrics of a whole shared node to every user with a job on it.
	SharedNodeMetrics bool `json:"shared-node-metrics"`
}

// HasSource reports whether a job source is configured.
func (j Jobs) HasSource(m Main) bool {
	return j.NATS != nil || j.Backend.Token != "" && m.BackendURL != ""
}

// NATSJobs is "auth.jobs.nats": job events from the server of section "nats".
type NATSJobs struct {
	// Subject is a NATS subject, wildcards allowed. Required. With AuthorizationConnection it must
	// not overlap with a subscription to metrics.
	Subject string `json:"subject"`
	// Authorization is AuthorizationHeader (the default) or AuthorizationConnection.
	Authorization Authorization `json:"authorization"`
	// Publishers may publish job events, and so may administrators. A publisher is
	// "issuer:subject"; the subject alone if main.jwt-public-key is the only issuer.
	Publishers []string `json:"publishers"`
}

// BackendJobs is "auth.jobs.backend": how jobs are read from the cc-backend at main.backend-url.
type BackendJobs struct {
	// Token is a [Reference] to a token with role api; empty: no jobs are read.
	Token string `json:"token"`
	// PollInterval is the time between two polls, at least 1 s. Default 30 s.
	PollInterval time.Duration `json:"poll-interval"`
}

// backend checks main.backend-url and auth.jobs.
func (c checker) backend() {
	const urlPath, tokenPath = "main.backend-url", "auth.jobs.backend.token"
	address, b := c.config.Main.BackendURL, c.config.Auth.Jobs.Backend
	if b.PollInterval < time.Second {
		c.fail("auth.jobs.backend.poll-interval", "expected at least 1s; got %s", b.PollInterval)
	}
	c.jobEvents()
	c.reference(tokenPath, b.Token, "a token")
	if c.found.skips(tokenPath) {
		return
	}
	u, err := url.Parse(address)
	usable := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	switch {
	case address == "" && b.Token != "":
		c.warn(tokenPath, "has no effect without main.backend-url")
	case address == "":
	case !usable && b.Token != "":
		c.fail(urlPath, "expected an absolute URL such as https://monitoring.example.org")
	case !usable:
		c.warn(urlPath, "not used: expected an absolute URL such as https://monitoring.example.org")
	case b.Token == "":
		c.warn(urlPath, "not used for jobs: auth.jobs.backend.token is missing")
	case !secureurl.IsSecure(u):
		c.warn(urlPath, "is http: others on the network can read the token")
	}
}

// jobEvents checks auth.jobs except auth.jobs.backend.
func (c checker) jobEvents() {
	const path = "auth.jobs.nats"
	jobs := &c.config.Auth.Jobs
	if jobs.MaxStaleness < time.Minute {
		c.fail("auth.jobs.max-staleness", "expected at least 1m0s; got %s", jobs.MaxStaleness)
	}
	if jobs.SharedNodeMetrics {
		c.warn("auth.jobs.shared-node-metrics", "users with a job on a shared node see metrics of the whole node, which the jobs of others affect")
	}
	if jobs.ProjectsFile != "" && !jobs.HasSource(c.config.Main) {
		c.warn("auth.jobs.projects-file", "has no effect without a job source")
	}
	if jobs.NATS == nil {
		return
	}
	n := jobs.NATS
	n.Authorization = cmp.Or(n.Authorization, AuthorizationHeader)
	if n.Subject == "" || !validSubject(n.Subject) {
		c.fail(path+".subject", `expected the NATS subject of job events, such as "cc.job.event"`)
	}
	switch n.Authorization {
	case AuthorizationHeader:
	case AuthorizationConnection:
		c.eventsByConnection(path, n.Subject)
	default:
		c.fail(path+".authorization", `expected "header" or "connection": a reported job grants access to its nodes`)
	}
	c.texts(path+".publishers", n.Publishers)
	if c.config.NATS.Address == "" && c.config.NATS.Embedded == nil {
		c.warn(path, "has no effect without a server in section nats")
	}
}

// eventsByConnection checks that connections that may publish metrics cannot report jobs.
func (c checker) eventsByConnection(path, subject string) {
	if n := c.config.NATS; n.Address != "" && n.AuthCallout == nil && !c.config.Auth.Disabled {
		c.fail(path+".authorization", `"connection" needs nats.auth-callout with an external server`)
	}
	for i, s := range c.config.MetricStore.Subscriptions {
		if overlap(subject, s.SubscribeTo) {
			c.fail(path+".subject", "overlaps with %s: a publisher of metrics could report jobs", joinIndex("metric-store.nats-subscriptions", i))
		}
	}
}
