package configs_test

import (
	"testing"
	"time"

	"github.com/ringstore/ringstore/configs"
)

// asking has a backend-url and members of auth.jobs.backend.
func asking(url, members string) string {
	return minimal(`"main": {"addr": ":8082", "jwt-public-key": "`+key+`", "backend-url": "`+url+`"}`,
		`"auth": {"jobs": {"backend": {`+members+`}}}`)
}

func TestRefusedBackend(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const literal = `config.json: auth.jobs.backend.token: must be "env:NAME", "file:PATH" or "azure-kv://VAULT/NAME": a token itself does not belong into a configuration`
	const url = "https://monitoring.example.org"

	f(asking(url, `"token": "eyJhbGciOiJFZERTQSJ9.e30.c2ln"`), literal)
	f(asking(url, `"token": "env:"`), `config.json: auth.jobs.backend.token: the reference names nothing after "env:"`)
	f(asking(url, `"token": "file:"`), `config.json: auth.jobs.backend.token: the reference names nothing after "file:"`)
	f(asking(url, `"token": "ENV:X"`), literal)
	f(asking(url, `"token": ":env:X"`), literal)
	f(asking(url, `"token": 5`), "config.json: auth.jobs.backend.token: must be a string, found a number")
	f(asking("monitoring:8080", `"token": "env:X"`), "config.json: main.backend-url: must be an absolute URL such as https://monitoring.example.org")
	f(asking(url, `"token": "env:X", "poll-interval": "1ms"`), "config.json: auth.jobs.backend.poll-interval: must be at least 1s")
	f(asking(url, `"tokn": "env:X"`), `config.json: auth.jobs.backend.tokn: unknown key; did you mean "token"?`)
}

func TestWarnedOfBackend(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); loaded(t, text, want...) }

	f(asking("https://h", `"token": "env:X"`))
	f(asking("https://h/below", `"token": "file:/run/token"`))
	f(asking("http://localhost:8080", `"token": "env:X"`))
	f(asking("http://[::1]:8080", `"token": "env:X"`))
	f(asking("", ``))
	f(asking("", `"token": "env:X"`), "config.json: auth.jobs.backend.token: has no effect without main.backend-url")
	f(asking("https://h", ``), "config.json: main.backend-url: is not asked where jobs run: auth.jobs.backend.token is missing")
	f(asking("http://h:8080", `"token": "env:X"`), "config.json: main.backend-url: is http: whoever is on the way there can read the token")
	f(asking("h:8080", ``), "config.json: main.backend-url: cannot be asked: not an absolute URL such as https://monitoring.example.org")
}

// jobs has members of auth.jobs, and a NATS server.
func jobs(members string) string {
	return minimal(`"auth": {"jobs": {`+members+`}}`, `"nats": {"embedded": {"listen": "127.0.0.1:0"}}`)
}

func TestRefusedJobs(t *testing.T) {
	f := func(text string, want ...string) { t.Helper(); refused(t, text, want...) }
	const subject = `config.json: auth.jobs.nats.subject: missing, or not a subject: where job events come, such as "cc.job.event"`
	const authorization = `config.json: auth.jobs.nats.authorization: must be "header" or "connection": whoever tells of jobs grants nodes`

	f(jobs(`"max-staleness": "59s"`), "config.json: auth.jobs.max-staleness: must be at least 1m")
	f(jobs(`"nats": {}`), subject)
	f(jobs(`"nats": {"subject": "a b"}`), subject)
	f(jobs(`"nats": {"subject": "a", "authorization": "trusted"}`), authorization)
	f(jobs(`"nats": {"subject": "a", "authorization": "none"}`), authorization)
	f(jobs(`"nats": {"subject": "a.>.b"}`), subject)
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.*", "authorization": "connection"}}}`, `"nats": {"embedded": {"listen": ":0"}}`,
		`"metric-store": {"retention-in-memory": "1h", "nats-subscriptions": [{"subscribe-to": "b"}, {"subscribe-to": "a.b"}]}`),
		"config.json: auth.jobs.nats.subject: overlaps with metric-store.nats-subscriptions[1]: who may write could tell of jobs")
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.b"}}}`, `"nats": {"embedded": {"listen": "127.0.0.1:0"}}`,
		`"metric-store": {"retention-in-memory": "1h", "nats-subscriptions": [{"subscribe-to": "b"}, {"subscribe-to": "a.*"}]}`),
		"config.json: metric-store.nats-subscriptions[1].subscribe-to: overlaps with auth.jobs.nats.subject: who may tell of jobs could write")
	f(minimal(`"auth": {"jobs": {"nats": {"subject": "a.b", "authorization": "connection"}}}`, `"nats": {"address": "nats://h"}`),
		`config.json: auth.jobs.nats.authorization: "connection" needs nats.auth-callout where the server is not embedded`)
	f(jobs(`"nats": {"subject": "a", "publishers": "slurmctld"}`), "config.json: auth.jobs.nats.publishers: must be an array, found a string")
	f(jobs(`"shared-node-metrics": "yes"`), "config.json: auth.jobs.shared-node-metrics: must be true or false, found a string")
}

func TestJobs(t *testing.T) {
	c := loaded(t, jobs(`"nats": {"subject": "cc.job.event", "publishers": ["slurmctld"]}`))
	if j := c.Auth.Jobs; j.NATS.Authorization != configs.AuthorizationHeader || j.MaxStaleness != 10*time.Minute || !j.Known(c.Main) {
		t.Errorf("%+v", j)
	}
	loaded(t, jobs(`"nats": {"subject": "cc.>", "authorization": "connection"}`))
	loaded(t, minimal(`"auth": {"jobs": {"nats": {"subject": "a"}}}`), "config.json: auth.jobs.nats: has no effect without a server in section nats")
	loaded(t, jobs(`"shared-node-metrics": true, "nats": {"subject": "a"}`),
		"config.json: auth.jobs.shared-node-metrics: who has a job on a shared node sees what the jobs of others do to the node")
	if c := loaded(t, minimal()); c.Auth.Jobs.Known(c.Main) {
		t.Error("nobody is there who knows jobs")
	}
}
