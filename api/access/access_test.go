package access

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/memstore"
)

const base = int64(1_795_200_000)

// recorder is a Store that records its calls.
type recorder struct{ calls []string }

func (r *recorder) record(method, cluster, host string, visible memstore.Visibility) {
	r.calls = append(r.calls, fmt.Sprintf("%s %s/%s%s", method, cluster, host, format(visible)))
}

// format lists the visible spans of the node, of hwthread 1, of accelerator a and of socket 0, in
// seconds after base.
func format(visible memstore.Visibility) string {
	if visible == nil {
		return ""
	}
	text := ""
	for _, d := range []memstore.Device{{}, {Type: "hwthread", TypeID: "1"}, {Type: "accelerator", TypeID: "a"}, {Type: "socket", TypeID: "0"}} {
		text += " " + d.Type
		for _, s := range visible(d) {
			text += fmt.Sprintf("[%d %d)", s.From/1000-base, s.To/1000-base)
		}
	}
	return text
}

func (r *recorder) Read(_ context.Context, sel memstore.Selection, rg memstore.Range) (memstore.Data, error) {
	r.record("read", sel.Cluster, sel.Host, rg.Visible)
	return memstore.Data{}, memstore.ErrNotFound
}

func (r *recorder) Cost(sel memstore.Selection, rg memstore.Range) int {
	r.record("cost", sel.Cluster, sel.Host, rg.Visible)
	return 1
}

func (r *recorder) Clusters() []string { return []string{"alpha", "beta", "hidden"} }

func (r *recorder) Find(dst []memstore.Found, cluster, host string, _ func(string) bool, _ memstore.Span, visible memstore.Visibility) ([]memstore.Found, error) {
	r.record("find", cluster, host, visible)
	return dst, nil
}

func (r *recorder) Hosts(cluster string) []string {
	r.record("hosts", cluster, "*", nil)
	return []string{"h1", "h2", "h3"}
}

func (r *recorder) Holds(cluster, host string, visible memstore.Visibility) (bool, error) {
	r.record("holds", cluster, host, visible)
	return host != "h2", nil
}

func (r *recorder) Health(cluster, host string, _ []string) memstore.Health {
	r.record("health", cluster, host, nil)
	return memstore.Health{}
}

func index(t *testing.T) *jobs.Index {
	ix := jobs.New(jobs.Options{Keep: time.Hour, Now: func() time.Time { return time.Unix(base, 0) }})
	job := func(id int64, user, cluster string, from, to int64, devices *jobs.Devices, hosts ...string) jobs.Report {
		j := jobs.Job{ID: id, Cluster: cluster, User: user, Project: "p", Start: base + from, End: base + to}
		for _, h := range hosts {
			j.Nodes = append(j.Nodes, jobs.Node{Host: h, Devices: devices})
		}
		return jobs.Report{Job: j}
	}
	err := ix.Apply(
		job(1, "ann", "emmy", -100, -50, nil, "h1", "h2"),
		job(2, "ann", "emmy", -50, -40, nil, "h1"),
		job(3, "ann", "emmy", -30, -20, &jobs.Devices{HWThreads: []int{1}}, "h1"),
		job(4, "ann", "fritz", -30, -20, nil, "h1"),
		job(5, "bob", "emmy", -10, 0, &jobs.Devices{Accelerators: []string{"a"}}, "h1", "h3"),
		job(6, "bob", "emmy", 0, 0, nil, "h4"), // ends when it starts
	)
	if err != nil {
		t.Fatal(err)
	}
	return ix
}

// The store is asked only for visible data. For a hidden host it is asked for a host that cannot
// exist, as for an unknown one.
func TestStoreIsAskedForVisibleDataOnly(t *testing.T) {
	const all = "all"
	ix := index(t)
	f := func(name string, p *auth.Principal, cluster, host string, shared bool, want string) {
		t.Run(name, func(t *testing.T) {
			store := new(recorder)
			g, err := New(Options{Store: store, Policy: auth.Policy{JobSource: true}, Jobs: ix, SharedNodeMetrics: shared})
			if err != nil {
				t.Fatal(err)
			}
			r := g.For(p)
			at := "/" // the host that cannot exist
			if want != "" {
				at = cluster + "/" + host
			}
			for range 2 {
				store.calls = nil
				r.Cost(memstore.Selection{Cluster: cluster, Host: host}, memstore.Range{})
				if _, err := r.Read(t.Context(), memstore.Selection{Cluster: cluster, Host: host}, memstore.Range{}); err == nil {
					t.Error("no error")
				}
				what := at + strings.TrimPrefix(want, all)
				if calls := []string{"cost " + what, "read " + what}; !slices.Equal(store.calls, calls) {
					t.Errorf("calls %q, want %q", store.calls, calls)
				}
			}
		})
	}
	user := func(name string) *auth.Principal { return &auth.Principal{JobUser: name, Roles: auth.User} }
	f("no principal", nil, "emmy", "h1", false, "")
	f("no role", &auth.Principal{JobUser: "ann"}, "emmy", "h1", false, "")
	f("a user without jobs", user("cleo"), "emmy", "h1", true, "")
	f("a user without a name", user(""), "emmy", "h1", true, "")
	f("a subject is not a job user", &auth.Principal{Subject: "ann", Roles: auth.User}, "emmy", "h1", true, "")
	f("another user's host", user("ann"), "emmy", "h3", true, "")
	f("an unknown host", user("ann"), "emmy", "h9", true, "")
	f("another cluster", user("bob"), "fritz", "h1", true, "")
	f("a job that ends when it starts", user("bob"), "emmy", "h4", true, "")
	f("own jobs", user("ann"), "emmy", "h1", false, " [-100 -40) hwthread[-100 -40)[-30 -20) accelerator[-100 -40) socket[-100 -40)")
	f("own jobs, with metrics of shared nodes", user("ann"), "emmy", "h1", true, " [-100 -40)[-30 -20) hwthread[-100 -40)[-30 -20) accelerator[-100 -40) socket[-100 -40)")
	f("devices only", user("bob"), "emmy", "h3", false, "  hwthread accelerator[-10 0) socket")
	f("a user's projects do not count", &auth.Principal{JobUser: "cleo", Projects: []string{"p"}, Roles: auth.User}, "emmy", "h3", false, "")
	f("a manager's projects count", &auth.Principal{JobUser: "cleo", Projects: []string{"p"}, Roles: auth.Manager}, "emmy", "h3", false, "  hwthread accelerator[-10 0) socket")
	f("a manager of another cluster",
		&auth.Principal{Projects: []string{"p"}, Roles: auth.Manager | auth.User, Limited: []auth.MappedRole{{Role: auth.Manager, Clusters: []string{"fritz"}}}}, "emmy", "h3", false, "")
	granted := user("")
	granted.Resources = []auth.Resource{{Cluster: "emmy", Hosts: []string{"h3"}, From: base - 5, To: base + 5}}
	f("a host that the token grants", granted, "emmy", "h3", false, " [-5 5) hwthread[-5 5) accelerator[-5 5) socket[-5 5)")
	f("a host that the token does not grant", granted, "emmy", "h1", false, "")
	f("an admin", &auth.Principal{Roles: auth.Admin}, "emmy", "h3", false, all)
	f("support", &auth.Principal{Roles: auth.Support}, "emmy", "h9", false, all)
	f("api and user", &auth.Principal{JobUser: "bob", Roles: auth.API | auth.User}, "emmy", "h3", false, "  hwthread accelerator[-10 0) socket")
	elsewhere := &auth.Principal{Roles: auth.Admin, Clusters: []string{"fritz"}}
	f("an admin of another cluster", elsewhere, "emmy", "h1", false, "")
	f("an admin of this cluster", elsewhere, "fritz", "h1", false, all)
	limited := &auth.Principal{JobUser: "ann", Roles: auth.Support | auth.User, Limited: []auth.MappedRole{{Role: auth.Support, Clusters: []string{"fritz"}}}}
	f("support of another cluster, and a user", limited, "emmy", "h3", false, "")
	f("support of this cluster", limited, "fritz", "h3", false, all)
}

func TestHosts(t *testing.T) {
	ix := index(t)
	f := func(p *auth.Principal, cluster string, want []string, calls ...string) { // calls are prefixes
		t.Helper()
		store := new(recorder)
		g, err := New(Options{Store: store, Policy: auth.Policy{JobSource: true}, Jobs: ix})
		if err != nil {
			t.Fatal(err)
		}
		got, err := g.For(p).Hosts(cluster)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: hosts %v, %v, want %v", p, got, err, want)
		}
		if len(store.calls) != len(calls) {
			t.Errorf("calls %q, want %q", store.calls, calls)
		}
		for i, call := range store.calls {
			if call[:min(len(call), len(calls[i]))] != calls[i] {
				t.Errorf("call %q, want %q", call, calls[i])
			}
		}
	}
	f(nil, "emmy", nil)
	f(&auth.Principal{JobUser: "cleo", Roles: auth.User}, "emmy", nil)
	f(&auth.Principal{JobUser: "ann", Roles: auth.User}, "none", nil)
	f(&auth.Principal{JobUser: "ann", Roles: auth.User}, "emmy", []string{"h1"}, "holds emmy/h1", "holds emmy/h2")
	f(&auth.Principal{JobUser: "bob", Roles: auth.User}, "emmy", []string{"h1", "h3"}, "holds emmy/h1", "holds emmy/h3")
	f(&auth.Principal{Roles: auth.Admin}, "emmy", []string{"h1", "h2", "h3"}, "hosts emmy/*")
	f(&auth.Principal{Roles: auth.Admin, Clusters: []string{"fritz"}}, "emmy", nil)
}

// A principal restricted to a cluster does not learn the health of hosts of other clusters.
func TestHealth(t *testing.T) {
	f := func(p *auth.Principal, want string) {
		t.Helper()
		store := new(recorder)
		g, err := New(Options{Store: store})
		if err != nil {
			t.Fatal(err)
		}
		g.For(p).Health("emmy", "h1", nil)
		if !slices.Equal(store.calls, []string{want}) {
			t.Errorf("calls %q, want %q", store.calls, want)
		}
	}
	f(nil, "health /")
	f(&auth.Principal{Roles: auth.User}, "health /")
	f(&auth.Principal{Roles: auth.Support, Clusters: []string{"fritz"}}, "health /")
	f(&auth.Principal{Roles: auth.Support, Clusters: []string{"emmy"}}, "health emmy/h1")
	f(&auth.Principal{Roles: auth.API}, "health emmy/h1")
}

func TestAStoreIsRequired(t *testing.T) {
	if g, err := New(Options{}); g != nil || err == nil {
		t.Error(g, err)
	}
}
