package auth

import (
	"fmt"
	"testing"
)

func TestSight(t *testing.T) {
	f := func(policy Policy, p *Principal, cluster string, want Sight) {
		t.Helper()
		if got := policy.Sight(p, cluster); got != want {
			t.Errorf("%+v, %+v on %s: %d, want %d", policy, p, cluster, got, want)
		}
	}
	jobs, all := Policy{JobSource: true}, Policy{UsersReadAll: true}
	of := func(roles Roles) *Principal { return &Principal{Roles: roles} }
	f(jobs, nil, "emmy", SeesNothing)
	f(jobs, of(0), "emmy", SeesNothing)
	f(all, of(0), "emmy", SeesNothing)
	f(Policy{}, of(User), "emmy", SeesNothing)
	f(Policy{}, of(Manager), "emmy", SeesNothing)
	f(jobs, of(User), "emmy", SeesJobs)
	f(jobs, of(Manager), "emmy", SeesJobs)
	f(jobs, of(User|API), "emmy", SeesJobs)
	f(all, of(User), "emmy", SeesAll)
	f(jobs, of(API), "emmy", SeesAll)
	f(jobs, of(Support|User), "emmy", SeesAll)
	f(jobs, of(Admin|API), "emmy", SeesAll)
	f(Policy{}, &Principal{Roles: User, Resources: []Resource{{Cluster: "emmy"}}}, "emmy", SeesJobs)
	f(Policy{}, &Principal{Resources: []Resource{{Cluster: "emmy"}}}, "emmy", SeesNothing)
	limited := &Principal{Roles: Support | User, Limited: []MappedRole{{Role: Support, Clusters: []string{"fritz"}}}}
	f(jobs, limited, "fritz", SeesAll)
	f(jobs, limited, "emmy", SeesJobs)
	f(Policy{}, limited, "emmy", SeesNothing)
	f(jobs, &Principal{Roles: Admin, Clusters: []string{"fritz"}}, "emmy", SeesNothing)
	f(jobs, &Principal{Roles: User, Clusters: []string{"fritz"}}, "emmy", SeesNothing)
	f(jobs, &Principal{Roles: User, Clusters: []string{"fritz"}}, "fritz", SeesJobs)
	f(all, &Principal{Roles: User, Clusters: []string{"fritz"}}, "emmy", SeesNothing)
}

func TestUsersQueryWithAJobSource(t *testing.T) {
	for _, a := range allActions {
		err := Policy{JobSource: true}.Decide(&Principal{Roles: User | Manager}, a)
		if may := a == Query || a == Whoami || a == OwnJobs; may != (err == nil) {
			t.Errorf("%s: %v", a, err)
		}
	}
}

func TestSights(t *testing.T) {
	f := func(policy Policy, p *Principal, want string) {
		t.Helper()
		named, others := policy.Sights(p)
		if got := fmt.Sprint(named, others); got != want {
			t.Errorf("%+v, %+v: %s, want %s", policy, p, got, want)
		}
	}
	strict, jobs, all := Policy{}, Policy{JobSource: true}, Policy{UsersReadAll: true}
	fritz := []string{"fritz"}
	f(jobs, nil, "map[] nothing")
	f(jobs, &Principal{}, "map[] nothing")
	f(strict, &Principal{Roles: User}, "map[] nothing")
	f(jobs, &Principal{Roles: User}, "map[] own-jobs")
	f(all, &Principal{Roles: User}, "map[] all")
	f(jobs, &Principal{Roles: Admin, Clusters: fritz}, "map[fritz:all] nothing")
	f(jobs, &Principal{Roles: User, Clusters: fritz}, "map[fritz:own-jobs] nothing")
	f(strict, &Principal{Roles: User, Clusters: fritz}, "map[] nothing")
	f(jobs, &Principal{Roles: Support | User, Limited: []MappedRole{{Role: Support, Clusters: fritz}}}, "map[fritz:all] own-jobs")
	f(strict, &Principal{Roles: Support | User, Limited: []MappedRole{{Role: Support, Clusters: fritz}}}, "map[fritz:all] nothing")
	f(jobs, &Principal{Roles: Support, Limited: []MappedRole{{Role: Support, Clusters: fritz}}, Clusters: []string{"emmy", "fritz"}}, "map[fritz:all] nothing")
}
