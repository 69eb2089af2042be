package configs_test

import (
	"testing"
	"time"

	"github.com/ringstore/ringstore/configs"
)

// withBackend has a backend-url and members of auth.jobs.backend.
func withBackend(url, members string) string {
	return minimal(`"main": {"addr": ":8082", "jwt-public-key": "`+key+`", "backend-url": "`+url+`"}`,
		`"auth": {"jobs": {"backend": {`+members+`}}}`)
}

func TestRefusedBackend(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const literal = `config.json: auth.jobs.backend.token: expected a reference, "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME"; do not write a token itself into the configuration`
	const url = "https://monitoring.example.org"

	f(withBackend(url, `"token": "eyJhbGciOiJFZERTQSJ9.e30.c2ln"`), literal)
	f(withBackend(url, `"token": "env:"`), `config.json: auth.jobs.backend.token: expected a name after "env:"`)
	f(withBackend(url, `"token": "file:"`), `config.json: auth.jobs.backend.token: expected a name after "file:"`)
	f(withBackend(url, `"token": "ENV:X"`), literal)
	f(withBackend(url, `"token": ":env:X"`), literal)
	f(withBackend(url, `"token": 5`), "config.json: auth.jobs.backend.token: expected a string; got a number")
	f(withBackend("monitoring:8080", `"token": "env:X"`), "config.json: main.backend-url: expected an absolute URL such as https://monitoring.example.org")
	f(withBackend(url, `"token": "env:X", "poll-interval": "1ms"`), "config.json: auth.jobs.backend.poll-interval: expected at least 1s; got 1ms")
	f(withBackend(url, `"tokn": "env:X"`), `config.json: auth.jobs.backend.tokn: unknown key; did you mean "token"?`)
}

func TestWarnedOfBackend(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); loaded(t, text, want...) }

	f(withBackend("https://h", `"token": "env:X"`))
	f(withBackend("https://h/below", `"token": "file:/run/token"`))
	f(withBackend("http://localhost:8080", `"token": "env:X"`))
	f(withBackend("http://[::1]:8080", `"token": "env:X"`))
	f(withBackend("", ``))
	f(withBackend("", `"token": "env:X"`), "config.json: auth.jobs.backend.token: has no effect without main.backend-url")
	f(withBackend("https://h", ``), "config.json: main.backend-url: not used for jobs: auth.jobs.backend.token is missing")
	f(withBackend("http://h:8080", `"token": "env:X"`), "config.json: main.backend-url: is http: others on the network can read the token")
	f(withBackend("h:8080", ``), "config.json: main.backend-url: not used: expected an absolute URL such as https://monitoring.example.org")
}

// jobs has members of auth.jobs and a NATS server.
func jobs(members string) string {
	return minimal(`"auth": {"jobs": {`+members+`}}`, `"nats": {"embedded": {"listen": "127.0.0.1:0"}}`)
}

func TestRefusedJobs(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const subject = `config.json: auth.jobs.nats.subject: expected the NATS subject of job events, such as "cc.job.event"`
	const authorization = `config.json: auth.jobs.nats.authorization: expected "header" or "connection": a reported job grants access to its nodes`

	f(jobs(`"max-staleness": "59s"`), "config.json: auth.jobs.max-staleness: expected at least 1m0s; got 59s")
	f(jobs(`"nats": {}`), subject)
	f(jobs(`"nats": {"subject": "a b"}`), subject)
	f(jobs(`"nats": {"subject": "a", "authorization": "trusted"}`), authorization)
	f(jobs(`"nats": {"subject": "a", "authorization": "none"}`), authorization)
	f(jobs(`"nats": {"subject": "a.>.b"}`), subject)
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.*", "authorization": "connection"}}}`, `"nats": {"embedded": {"listen": ":0"}}`,
		`"metric-store": {"retention-in-memory": "1h", "nats-subscriptions": [{"subscribe-to": "b"}, {"subscribe-to": "a.b"}]}`),
		"config.json: auth.jobs.nats.subject: overlaps with metric-store.nats-subscriptions[1]: a publisher of metrics could report jobs")
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.b"}}}`, `"nats": {"embedded": {"listen": "127.0.0.1:0"}}`,
		`"metric-store": {"retention-in-memory": "1h", "nats-subscriptions": [{"subscribe-to": "b"}, {"subscribe-to": "a.*"}]}`),
		"config.json: metric-store.nats-subscriptions[1].subscribe-to: overlaps with auth.jobs.nats.subject: a publisher of job events could write metrics")
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.b", "authorization": "connection"}}}`, `"nats": {"address": "nats://h"}`),
		`config.json: auth.jobs.nats.authorization: "connection" needs nats.auth-callout with an external server`)
	f(jobs(`"nats": {"subject": "a", "publishers": "slurmctld"}`), "config.json: auth.jobs.nats.publishers: expected an array; got a string")
	f(jobs(`"shared-node-metrics": "yes"`), "config.json: auth.jobs.shared-node-metrics: expected true or false; got a string")
}

func TestJobs(t *testing.T) {
	c := loaded(t, jobs(`"nats": {"subject": "cc.job.event", "publishers": ["slurmctld"]}`))
	if j := c.Auth.Jobs; j.NATS.Authorization != configs.AuthorizationHeader || j.MaxStaleness != 10*time.Minute || !j.HasSource(c.Main) {
		t.Errorf("%+v", j)
	}
	c = loaded(t, jobs(`"nats": {"subject": "a"}, "projects-file": "/etc/ringstore/projects.json"`))
	if c.Auth.Jobs.ProjectsFile != "/etc/ringstore/projects.json" {
		t.Errorf("%+v", c.Auth.Jobs)
	}
	loaded(t, minimal(`"auth": {"jobs": {"projects-file": "p.json"}}`), "config.json: auth.jobs.projects-file: has no effect without a job source")
	loaded(t, jobs(`"nats": {"subject": "cc.>", "authorization": "connection"}`))
	loaded(t, minimal(`"auth": {"jobs": {"nats": {"subject": "a"}}}`), "config.json: auth.jobs.nats: has no effect without a server in section nats")
	loaded(t, jobs(`"shared-node-metrics": true, "nats": {"subject": "a"}`),
		"config.json: auth.jobs.shared-node-metrics: users with a job on a shared node see metrics of the whole node, which the jobs of others affect")
	if c := loaded(t, minimal()); c.Auth.Jobs.HasSource(c.Main) {
		t.Error("a job source without configuration")
	}
}
