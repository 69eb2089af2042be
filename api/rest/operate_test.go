package rest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
)

// fixedOperator is an Operator with a fixed state, whose methods return err.
type fixedOperator struct{ err error }

func (s fixedOperator) Status(_ context.Context, top int) (rest.Status, error) {
	status := rest.Status{
		Version: "test", Started: now, Ready: true, Reasons: []string{}, Notes: []string{}, Clusters: []rest.ClusterSize{},
		Subscriptions: []rest.Subscription{}, TopMetrics: rest.Largest{BySeries: []rest.Size{}, ByBytes: []rest.Size{}},
		TopHosts: rest.Largest{ByBytes: []rest.Size{}, BySeries: []rest.Size{}},
	}
	for i := range top {
		status.TopHosts.BySeries = append(status.TopHosts.BySeries, rest.Size{Cluster: "alpha", Name: fmt.Sprint("n", i)})
	}
	return status, s.err
}

func (s fixedOperator) Snapshot(context.Context) (rest.Snapshot, error) {
	return rest.Snapshot{Path: "/var/lib/x", Time: now, Files: 3, Bytes: 300}, s.err
}

func (s fixedOperator) ConfirmClock() rest.ClockConfirmed {
	return rest.ClockConfirmed{Time: now, Ahead: 604800.5}
}

func TestConfirmClock(t *testing.T) {
	d := open(t)
	got := d.send(t, "POST", "/api/confirm-clock", "")
	if got.status != 200 || got.body != fmt.Sprintf(`{"time":%d,"ahead":604800.5}`, now)+"\n" {
		t.Errorf("%d %s", got.status, got.body)
	}
	if got := d.send(t, "GET", "/api/confirm-clock", ""); got.status != 405 {
		t.Errorf("GET: %d", got.status)
	}
}

func TestStatus(t *testing.T) {
	d := open(t)
	f := func(query string, status, hosts int) {
		t.Helper()
		got := d.send(t, "GET", "/api/status"+query, "")
		var s rest.Status
		if err := json.Unmarshal([]byte(got.body), &s); err != nil || got.status != status || len(s.TopHosts.BySeries) != hosts {
			t.Errorf("%s: %d %s", query, got.status, got.body)
		}
	}
	f("", 200, 10)
	f("?top=0", 200, 0)
	f("?top=1000", 200, 1000)
	f("?top=1001", 400, 0)
	f("?top=-1", 400, 0)
	f("?top=x", 400, 0)
	broken := open(t, func(o *rest.Options) { o.Operator = fixedOperator{errors.New("secret")} })
	if got := broken.send(t, "GET", "/api/status", ""); got.status != 500 || got.failure(t).Error != "internal error" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestSnapshot(t *testing.T) {
	d := open(t)
	got := d.send(t, "POST", "/api/snapshot", "")
	if got.status != 200 || got.body != fmt.Sprintf(`{"path":"/var/lib/x","time":%d,"files":3,"bytes":300}`, now)+"\n" {
		t.Errorf("%d %s", got.status, got.body)
	}
	full := open(t, func(o *rest.Options) { o.Operator = fixedOperator{fmt.Errorf("snapshot: %w", syscall.ENOSPC)} })
	if got := full.send(t, "POST", "/api/snapshot", ""); got.status != 503 || got.failure(t).Error != "the disk is full" {
		t.Errorf("%d %s", got.status, got.body)
	}
}

func TestWithoutAnOperatorStatusAndSnapshotAreNotFound(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.Operator = nil })
	d.skipContract()
	for method, path := range map[string]string{"GET": "/api/status", "POST": "/api/snapshot"} {
		if got := d.send(t, method, path, ""); got.status != 404 {
			t.Errorf("%s: %d", path, got.status)
		}
	}
}

func TestWhoami(t *testing.T) {
	all := []any{"*"}
	f := func(name string, change func(*rest.Options), want map[string]any) {
		t.Run(name, func(t *testing.T) {
			d := open(t, change)
			got := d.send(t, "GET", "/api/whoami", "")
			var answered map[string]any
			if err := json.Unmarshal([]byte(got.body), &answered); err != nil || got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if !reflect.DeepEqual(answered, want) {
				t.Errorf("%v\nwant %v", answered, want)
			}
		})
	}
	as := func(p auth.Principal) func(*rest.Options) {
		return func(o *rest.Options) { o.Authenticator = fixedAuthenticator{principal: &p} }
	}
	everything := map[string]any{
		"query": all, "healthcheck": all, "write": all, "free": all, "debug": all, "status": all, "snapshot": all, "confirm_clock": all,
		"profile": all, "metrics": all, "openapi": all, "whoami": all, "own_jobs": all,
	}
	f("an admin", as(auth.Principal{Issuer: "sso", Subject: "alice", JobUser: "alice1", Roles: auth.Admin, TokenID: "7", Expires: time.Unix(now, 0)}),
		map[string]any{
			"issuer": "sso", "subject": "alice", "job-user": "alice1", "roles": []any{"admin"}, "token-id": "7", "expires": float64(now),
			"may": everything, "sees": map[string]any{"*": "all"},
		})
	f("no roles", as(auth.Principal{Issuer: "sso", Subject: "bob"}), map[string]any{
		"issuer": "sso", "subject": "bob", "roles": []any{}, "may": map[string]any{"whoami": all, "own_jobs": all},
	})
	f("a manager", as(auth.Principal{Issuer: "sso", Subject: "eve", Roles: auth.Manager, Projects: []string{"p1"}}), map[string]any{
		"issuer": "sso", "subject": "eve", "roles": []any{"manager"}, "projects": []any{"p1"}, "may": map[string]any{"whoami": all, "own_jobs": all},
	})
	withJobs := func(p auth.Principal) func(*rest.Options) {
		return func(o *rest.Options) { o.Authenticator, o.Policy.JobSource = fixedAuthenticator{principal: &p}, true }
	}
	f("a user with a job source", withJobs(auth.Principal{Issuer: "sso", Subject: "eve", JobUser: "eve", Roles: auth.User}), map[string]any{
		"issuer": "sso", "subject": "eve", "job-user": "eve", "roles": []any{"user"},
		"may": map[string]any{"query": all, "whoami": all, "own_jobs": all}, "sees": map[string]any{"*": "own-jobs"},
	})
	f("user, and support of one cluster", withJobs(auth.Principal{
		Issuer: "sso", Subject: "eve", Roles: auth.User | auth.Support,
		Limited: []auth.MappedRole{{Role: auth.Support, Clusters: []string{"beta"}}},
	}), map[string]any{
		"issuer": "sso", "subject": "eve", "roles": []any{"support", "user"},
		"limited": []any{map[string]any{"role": "support", "clusters": []any{"beta"}}},
		"may":     map[string]any{"query": all, "healthcheck": []any{"beta"}, "openapi": all, "whoami": all, "own_jobs": all},
		"sees":    map[string]any{"*": "own-jobs", "beta": "all"},
	})
	f("a token with resources", as(auth.Principal{
		Issuer: "sso", Subject: "eve", Roles: auth.User, Resources: []auth.Resource{{Cluster: "beta", Hosts: []string{"n1"}, From: base, To: now}},
	}), map[string]any{
		"issuer": "sso", "subject": "eve", "roles": []any{"user"},
		"resources": []any{map[string]any{"cluster": "beta", "hosts": []any{"n1"}, "from": float64(base), "to": float64(now)}},
		"may":       map[string]any{"query": all, "whoami": all, "own_jobs": all}, "sees": map[string]any{"*": "own-jobs"},
	})
	f("restricted to clusters", as(auth.Principal{
		Issuer: "sso", Subject: "c", Roles: auth.API | auth.Support, Clusters: []string{"alpha", "beta"},
		Limited: []auth.MappedRole{{Role: auth.API, Clusters: []string{"beta"}}},
	}), map[string]any{
		"issuer": "sso", "subject": "c", "roles": []any{"api", "support"}, "clusters": []any{"alpha", "beta"},
		"limited": []any{map[string]any{"role": "api", "clusters": []any{"beta"}}},
		"may": map[string]any{
			"query": []any{"alpha", "beta"}, "healthcheck": []any{"alpha", "beta"}, "write": []any{"beta"},
			"openapi": all, "whoami": all, "own_jobs": all,
		},
		"sees": map[string]any{"alpha": "all", "beta": "all"},
	})
	f("without authentication", func(o *rest.Options) { o.AuthDisabled, o.Authenticator = true, nil }, map[string]any{
		"issuer": "", "subject": "", "roles": []any{"admin"}, "may": everything, "sees": map[string]any{"*": "all"},
	})
}
