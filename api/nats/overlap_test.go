package nats

import (
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/jobs"
)

// A publisher that may publish to a subject can reach every subject that overlaps it, so all of
// them must make the same check.
func TestOverlappingSubjectsNeedTheSamePermission(t *testing.T) {
	events := jobs.NewEvents(jobs.New(jobs.Options{Keep: time.Hour}), nil)
	f := func(ok bool, one, other Subject) {
		t.Helper()
		for _, subjects := range [][]Subject{{one, other}, {other, one}} {
			if _, err := mergeSubjects(subjects); ok != (err == nil) {
				t.Errorf("%+v: %v", subjects, err)
			}
		}
	}
	a := func(authorization Authorization, clusterTag string) Subject {
		return Subject{Subject: "a.>", Authorization: authorization, ClusterTag: clusterTag}
	}
	b := func(authorization Authorization, clusterTag string) Subject {
		return Subject{Subject: "a.b", Authorization: authorization, ClusterTag: clusterTag}
	}
	f(false, a(Header, ""), b(Connection, ""))
	f(false, a(Connection, ""), b(Header, ""))
	f(false, a(Trusted, ""), b(Connection, ""))
	f(false, a(Trusted, ""), b(Header, ""))
	f(false, a(Header, ""), b(Trusted, ""))
	f(false, a(Connection, "alpha"), b(Connection, "gamma"))
	f(false, a(Connection, ""), b(Connection, "alpha"))
	f(false, a(Connection, "alpha"), b(Connection, ""))
	f(false, a(Connection, ""), Subject{Subject: "a.b", Events: events})
	f(false, a(Trusted, ""), Subject{Subject: "a.b", Events: events})
	f(true, a(Header, "alpha"), b(Header, "gamma"))
	f(true, a(Trusted, "alpha"), b(Trusted, "gamma"))
	f(true, a(Connection, "alpha"), b(Connection, "alpha"))
	f(true, a(Header, ""), Subject{Subject: "a.b", Events: events})
	f(true, b(Trusted, ""), Subject{Subject: "a.c", Authorization: Connection})
}
