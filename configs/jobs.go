package configs

import (
	"cmp"
	"net/url"
	"strings"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
)

// Jobs is "auth.jobs": who knows which jobs run where. Users and managers see what their jobs had if anybody does.
type Jobs struct {
	Backend BackendJobs `json:"backend"`
	// NATS is a subject with job events; nil: none.
	NATS *NATSJobs `json:"nats"`
	// MaxStaleness is for how long a source may be silent until that is told, and until running jobs that only events
	// tell of are shut for new time. Default 10 minutes.
	MaxStaleness time.Duration `json:"max-staleness"`
	// SharedNodeMetrics shows metrics of a node as a whole to all who have a job there, though others do too.
	SharedNodeMetrics bool `json:"shared-node-metrics"`
}

// Known reports whether there is a source that tells whose jobs run where.
func (j Jobs) Known(m Main) bool { return j.NATS != nil || j.Backend.Token != "" && m.BackendURL != "" }

// NATSJobs is "auth.jobs.nats": job events from the server of section "nats".
type NATSJobs struct {
	// Subject is a NATS subject, wildcards allowed. Required. With AuthorizationConnection no subscription to metrics may
	// have messages in common with it.
	Subject string `json:"subject"`
	// Authorization is AuthorizationHeader or AuthorizationConnection: events are never trusted. Default AuthorizationHeader.
	Authorization Authorization `json:"authorization"`
	// Publishers are those whose events are taken: an issuer's name, a colon and one of its subjects, or a subject of any
	// issuer, if there is no colon in it. Those of administrators are taken too; nobody else's.
	Publishers []string `json:"publishers"`
}

// BackendJobs is "auth.jobs.backend": how the cc-backend of main.backend-url is asked.
type BackendJobs struct {
	// Token is a [Reference] to the token of role api. Without one the backend is not asked.
	Token string `json:"token"`
	// PollInterval is the time between two questions, at least a second. Default 30 s.
	PollInterval time.Duration `json:"poll-interval"`
}

// backend checks main.backend-url and what it is asked with.
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

// jobEvents checks auth.jobs but for the backend.
func (c checker) jobEvents() {
	const path = "auth.jobs.nats"
	jobs := &c.config.Auth.Jobs
	if jobs.MaxStaleness < time.Minute {
		c.fail("auth.jobs.max-staleness", "expected at least 1m0s; got %s", jobs.MaxStaleness)
	}
	if jobs.SharedNodeMetrics {
		c.warn("auth.jobs.shared-node-metrics", "users with a job on a shared node see metrics of the whole node, which the jobs of others affect")
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
	for i, name := range n.Publishers {
		if len(c.config.Auth.Issuers) > 1 && !strings.Contains(name, ":") {
			c.warn(joinIndex(path+".publishers", i), "matches this subject of every issuer; write ISSUER:SUBJECT to name one")
		}
	}
}

// eventsByConnection makes sure that who connects to publish metrics cannot tell of jobs.
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
