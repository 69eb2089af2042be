package auth

import (
	"slices"
	"testing"
)

var allActions = []Action{
	Query, Healthcheck, Write, Free, Debug, Status, Snapshot, ConfirmClock, Profile, Metrics, OpenAPI, Whoami, OwnJobs,
}

// naive implements the role table independently: may says whether the roles permit the action, and
// needsJobs whether they would with a job source.
func naive(roles []string, a Action) (may, needsJobs bool) {
	has := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(roles, n) })
	}
	switch a {
	case Query:
		if has("admin") || has("support") || (len(roles) == 1 && has("api")) {
			return true, false
		}
		return false, has("manager") || has("user")
	case Healthcheck, Metrics, OpenAPI:
		return has("admin", "api", "support"), false
	case Write:
		return has("admin", "api"), false
	case Whoami, OwnJobs:
		return true, false
	default:
		return has("admin"), false
	}
}

func TestRoleTable(t *testing.T) {
	names := []string{"admin", "api", "support", "manager", "user"}
	for set := range 1 << len(names) {
		var roles Roles
		var held []string
		for i, name := range names {
			if set>>i&1 == 1 {
				role, ok := ParseRole(name)
				if !ok {
					t.Fatalf("%s is not a role", name)
				}
				roles |= role
				held = append(held, name)
			}
		}
		if !slices.Equal(roles.Names(), held) {
			t.Errorf("Names of %v: %v", held, roles.Names())
		}
		p := &Principal{Subject: "s", Roles: roles}
		for _, a := range allActions {
			may, needsJobs := naive(held, a)
			for _, usersReadAll := range []bool{false, true} {
				var want Reason
				switch {
				case may, needsJobs && usersReadAll:
				case needsJobs:
					want = NoJobSource
				default:
					want = InsufficientRole
				}
				err := Policy{UsersReadAll: usersReadAll}.Decide(p, a)
				if got := code(err); got != want {
					t.Errorf("[%s] %s, users read all %t: got %q, want %q", roles, a, usersReadAll, got, want)
				}
			}
		}
	}
}

// Cells that could be wrong in both the table and naive.
func TestRoleTableByHand(t *testing.T) {
	f := func(roles Roles, a Action, want Reason) {
		t.Helper()
		if got := code(Policy{}.Decide(&Principal{Roles: roles}, a)); got != want {
			t.Errorf("[%s] %s: got %q, want %q", roles, a, got, want)
		}
	}
	f(0, Query, InsufficientRole)
	f(0, Whoami, "")
	f(User, Query, NoJobSource)
	f(User, Write, InsufficientRole)
	f(User, Healthcheck, InsufficientRole)
	f(Manager, Query, NoJobSource)
	f(Manager|User, Query, NoJobSource)
	f(API, Query, "")
	f(API, Write, "")
	f(API, Free, InsufficientRole)
	f(API, Profile, InsufficientRole)
	f(API|User, Query, NoJobSource)
	f(API|Manager, Query, NoJobSource)
	f(API|User, Write, "")
	f(API|User, Healthcheck, "")
	f(API|Support, Query, "")
	f(API|Admin, Query, "")
	f(API|Support|User, Query, "")
	f(Support, Write, InsufficientRole)
	f(Support|User, Query, "")
	f(Admin|User, Query, "")
	f(Admin, Profile, "")
	f(Support, Debug, InsufficientRole)
}

func TestNilPrincipalAndInvalidActions(t *testing.T) {
	admin := &Principal{Roles: Admin | API | Support | Manager | User}
	f := func(p *Principal, a Action) {
		t.Helper()
		if got := code(Policy{UsersReadAll: true}.Decide(p, a)); got != InsufficientRole {
			t.Errorf("%v may do action %d: %q", p, a, got)
		}
	}
	for _, a := range allActions {
		f(nil, a)
	}
	f(admin, 0)
	f(admin, Reload)
	f(admin, Reload+1)
	f(admin, 255)
}

func TestActionsHaveNames(t *testing.T) {
	seen := map[string]Action{"": 0}
	for _, a := range allActions {
		if other, twice := seen[a.String()]; twice {
			t.Errorf("action %d is named %q, as is %d", a, a, other)
		}
		seen[a.String()] = a
	}
	if len(table) != len(allActions)+1 || len(actionNames) != len(table)+1 { // Reload has no row
		t.Errorf("%d actions, %d rows in the table, %d names", len(allActions), len(table), len(actionNames))
	}
	if s := Action(200).String(); s != "" {
		t.Errorf("action 200 is named %q", s)
	}
}

func TestRoleNamesAreExact(t *testing.T) {
	for _, name := range []string{"", "Admin", "ADMIN", " admin", "admin,api", "root", "aPi", "uſer", "none"} {
		if role, ok := ParseRole(name); ok || role != 0 {
			t.Errorf("%q is the role %s", name, role)
		}
	}
}

// Clients cannot tell refusals apart by their message, nor denials, unless the message helps the
// token's holder.
func TestPublicMessages(t *testing.T) {
	if a, b := (&Refusal{Code: Expired, Detail: "x"}).Public(), (&Refusal{Code: Missing}).Public(); a != b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
	if a, b := (&Denied{Free, OtherCluster}).Public(), (&Denied{Query, InsufficientRole}).Public(); a != b || a == "" {
		t.Errorf("%q and %q", a, b)
	}
	if got := (Policy{}).Decide(&Principal{Roles: User}, Query).(*Denied).Public(); got != "no job source is configured" {
		t.Errorf("a user without a job source: %q", got)
	}
	if got := (Policy{}).Decide(&Principal{Roles: User}, Write).(*Denied).Public(); got != "the token's roles do not permit this" {
		t.Errorf("a user who writes: %q", got)
	}
}

// The rules on jobs follow the roles that hold on a cluster, and no other role.
func TestJobRules(t *testing.T) {
	var policy Policy
	f := func(role Roles, others, projects, reports bool) {
		t.Helper()
		p := &Principal{Subject: "s", Roles: role, Limited: []MappedRole{{Role: role, Clusters: []string{"alpha"}}}}
		if got := policy.DecideOthersJobs(p) == nil; got != others {
			t.Errorf("%v may list others' jobs: %v", role.Names(), got)
		}
		for cluster, here := range map[string]bool{"alpha": true, "beta": false} {
			if got := policy.SeesOthersJobs(p, cluster); got != (others && here) {
				t.Errorf("%v sees others' jobs on %s: %v", role.Names(), cluster, got)
			}
			if got := policy.SeesProjectJobs(p, cluster); got != (projects && here) {
				t.Errorf("%v sees the projects' jobs on %s: %v", role.Names(), cluster, got)
			}
			if got := policy.ReportsJobsOn(p, cluster); got != (reports && here) {
				t.Errorf("%v reports jobs on %s: %v", role.Names(), cluster, got)
			}
		}
		if got := policy.ReportsJobs(p); got != reports {
			t.Errorf("%v reports jobs: %v", role.Names(), got)
		}
	}
	f(0, false, false, false)
	f(User, false, false, false)
	f(API, false, false, false)
	f(Manager, false, true, false)
	f(Support, true, false, false)
	f(Admin, true, false, true)
	if policy.DecideOthersJobs(nil) == nil {
		t.Error("no principal may list others' jobs")
	}
}

// A service reads all data of a cluster by its roles. A principal that reads it because users may
// read everything is none.
func TestIsService(t *testing.T) {
	f := func(roles Roles, want bool) {
		t.Helper()
		if got := (Policy{UsersReadAll: true, JobSource: true}).IsService(&Principal{Roles: roles}); got != want {
			t.Errorf("%v: %v", roles, got)
		}
	}
	f(0, false)
	f(User, false)
	f(Manager, false)
	f(User|Manager, false)
	f(API|User, false)
	f(API|Manager, false)
	f(API, true)
	f(Support, true)
	f(Admin, true)
	f(API|Admin|User, true)
	if !(Policy{}).IsService(&Principal{Roles: API, Clusters: []string{"a"}}) {
		t.Error("api on one cluster")
	}
	if (Policy{}).IsService(nil) {
		t.Error("nobody")
	}
}
