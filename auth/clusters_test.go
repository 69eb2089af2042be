package auth

import (
	"slices"
	"strings"
	"testing"
)

// want lists the clusters; "!" stands for all.
func TestClusters(t *testing.T) {
	f := func(name string, p *Principal, a Action, want string) {
		t.Helper()
		var policy Policy
		set := policy.Clusters(p, a)
		got := strings.Join(set.Names(), ",")
		if set.All() {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %s on %q, want %q", name, a, got, want)
		}
		if decided := policy.Decide(p, a); (decided == nil) != (got != "") {
			t.Errorf("%s: %s on %q, and Decide says %v", name, a, got, decided)
		}
		for _, cluster := range []string{"fritz", "alex", "woody", "", "FRITZ"} {
			one := policy.DecideOn(p, a, cluster)
			if may := set.All() || slices.Contains(set.Names(), cluster); may != (one == nil) || may != set.Has(cluster) {
				t.Errorf("%s: %s on %q: %v, but the set is %q", name, a, cluster, one, got)
			}
		}
	}
	free := &Principal{Roles: Admin}
	f("admin", free, Query, "!")
	f("admin", free, Snapshot, "!")
	f("nobody", nil, Whoami, "")
	f("nobody", nil, Query, "")
	f("no role", &Principal{}, Query, "")
	f("no role", &Principal{}, Whoami, "!")

	bot := &Principal{Roles: API, Clusters: []string{"fritz", "alex"}}
	f("bot", bot, Query, "alex,fritz")
	f("bot", bot, Write, "alex,fritz")
	f("bot", bot, Healthcheck, "alex,fritz")
	f("bot", bot, Free, "")
	f("bot", bot, Metrics, "") // metrics cover all clusters
	f("bot", bot, OpenAPI, "!")
	f("bot", bot, Whoami, "!")

	boss := &Principal{Roles: Admin, Clusters: []string{"fritz"}}
	f("one cluster's admin", boss, Free, "fritz")
	for _, a := range []Action{Debug, Status, Snapshot, ConfirmClock, Profile, Metrics} {
		f("one cluster's admin", boss, a, "")
		if got := code(Policy{}.Decide(boss, a)); got != OtherCluster {
			t.Errorf("one cluster's admin may not %s: %s", a, got)
		}
	}
	f("nobody's", &Principal{Roles: Admin, Clusters: []string{}}, Query, "")

	mixed := &Principal{Roles: Support | API, Limited: []MappedRole{{API, []string{"fritz"}}}}
	f("support, and api on fritz", mixed, Query, "!")
	f("support, and api on fritz", mixed, Write, "fritz")
	f("support, and api on fritz", mixed, Metrics, "!")
	if got := code(Policy{}.DecideOn(mixed, Write, "alex")); got != OtherCluster {
		t.Errorf("a write elsewhere: %s", got)
	}
	// Beside user, api does not widen the sight, not even on another cluster.
	f("api, and user on fritz", &Principal{Roles: API | User, Limited: []MappedRole{{User, []string{"fritz"}}}}, Query, "")
	f("user, and support on fritz", &Principal{Roles: Support | User, Limited: []MappedRole{{Support, []string{"fritz"}}}}, Query, "fritz")
	// An issuer's restriction applies to every role.
	f("both", &Principal{Roles: Support, Clusters: []string{"alex"}, Limited: []MappedRole{{Support, []string{"fritz", "alex"}}}}, Query, "alex")
	f("neither", &Principal{Roles: Support, Clusters: []string{"alex"}, Limited: []MappedRole{{Support, []string{"fritz"}}}}, Status, "")
}

func TestUnionOfRoles(t *testing.T) {
	f := func(want string, granted ...MappedRole) {
		t.Helper()
		var p Principal
		p.Roles, p.Limited = union(granted)
		if got := strings.TrimSpace(describe(&p)); got != want+" never expires" {
			t.Errorf("%v: %s, want %s", granted, got, want)
		}
	}
	f("[]", MappedRole{})
	f("[user]", MappedRole{Role: User}, MappedRole{})
	f("[user] user@a", MappedRole{User, []string{"a"}})
	f("[user] user@a,b", MappedRole{User, []string{"a"}}, MappedRole{User, []string{"b", "a"}})
	f("[user]", MappedRole{User, []string{"a"}}, MappedRole{Role: User})
	f("[user]", MappedRole{Role: User}, MappedRole{User, []string{"a"}})
	f("[api,user] api@a", MappedRole{Role: User}, MappedRole{API, []string{"a"}}, MappedRole{})
	f("[admin,user]", MappedRole{Role: User | Admin}, MappedRole{User, []string{"a"}})
}
