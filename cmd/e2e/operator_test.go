package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// askedAs returns the JSON answer to an admin.
func askedAs[T any](t testing.TB, p *program, method, path string) (v T) {
	t.Helper()
	got := p.send(t, token("admin"), method, path, "")
	if err := json.Unmarshal([]byte(got.body), &v); err != nil || got.status != 200 {
		t.Fatalf("%s: %d %s", path, got.status, got.body)
	}
	return v
}

// TestSnapshotIsABackup: another server restores from a copy of a snapshot exactly what was
// acknowledged before it, although the first server was killed and its directory is gone.
func TestSnapshotIsABackup(t *testing.T) {
	s := newSettings(t)
	p := process(t, s)
	second := now() - 600
	want := make(map[int64]float64)
	for i := range int64(5) {
		p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=%d %d", i, second+60*i))
		want[second+60*i] = float64(i)
	}
	first := askedAs[rest.Snapshot](t, p, "POST", "/api/snapshot")
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=5 %d", second+300))
	again := askedAs[rest.Snapshot](t, p, "POST", "/api/snapshot")
	p.signal(t, syscall.SIGKILL)
	p.wait(t)

	f := func(snapshot rest.Snapshot, want map[int64]float64) {
		t.Helper()
		if !strings.HasPrefix(snapshot.Path, filepath.Join(s.checkpoints(), "snapshots")+"/") || snapshot.Files == 0 || snapshot.Bytes == 0 {
			t.Errorf("%+v", snapshot)
		}
		other := newSettings(t)
		backup := filepath.Dir(other.checkpoints())
		if err := os.CopyFS(backup, os.DirFS(snapshot.Path)); err != nil {
			t.Fatal(err)
		}
		if got := runCommand(t, nil, "verify", "-config", other.file(t)); got.code != exitOK {
			t.Errorf("verify: %d %s%s", got.code, got.stdout, got.stderr)
		}
		q := serve(t, other)
		if got := q.samples(t, "n1", "cpu_load", second-60, second+600); !maps.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		q.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=9 %d", second+360)) // it goes on from there
		q.stopWell(t)
		r := serve(t, other)
		if got := r.samples(t, "n1", "cpu_load", second+360, second+420); got[second+360] != 9 {
			t.Errorf("after another start: %v", got)
		}
	}
	f(first, want)
	want[second+300] = 5
	if err := os.RemoveAll(filepath.Join(s.checkpoints(), "journal")); err != nil {
		t.Fatal(err)
	}
	f(again, want)
}

// TestStatusOfAServer: the status matches what was written.
func TestStatusOfAServer(t *testing.T) {
	s := newSettings(t)
	p := serve(t, s)
	fresh := askedAs[rest.Status](t, p, "GET", "/api/status")
	if !fresh.Ready || len(fresh.Reasons) != 0 || fresh.Hosts != 0 || fresh.Checkpoint != nil || fresh.Version != testVersion {
		t.Errorf("%+v", fresh)
	}
	at := now() - 60
	p.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=1 %d\nflops_any,hostname=n1,type=hwthread,type-id=0 value=1 %[1]d\nflops_any,hostname=n1,type=hwthread,type-id=1 value=1 %[1]d\ncpu_load,hostname=n2 value=1 %[1]d", at))
	publish(t, connect(t, p.nats), message(token("api"), fmt.Sprintf("cpu_load,hostname=n3,cluster=beta value=1 %d", at)))
	publish(t, connect(t, p.nats), message(token("user"), fmt.Sprintf("cpu_load,hostname=n4 value=1 %d", at)))
	var got rest.Status
	counted := func(name string) float64 {
		if len(got.Subscriptions) != 1 || got.Subscriptions[0].Subject != subject {
			return 0
		}
		return got.Subscriptions[0].Counters[name]
	}
	cmdtest.Eventually(t, "the messages", func() bool {
		got = askedAs[rest.Status](t, p, "GET", "/api/status?top=1")
		return got.Hosts == 3 && counted("refused") == 1
	})
	var clusters []string
	for _, c := range got.Clusters {
		if c.Bytes <= 0 {
			t.Errorf("%+v", c)
		}
		clusters = append(clusters, fmt.Sprintf("%s %d %d", c.Cluster, c.Hosts, c.Series))
	}
	if fmt.Sprint(clusters) != "[alpha 2 4 beta 1 1]" {
		t.Errorf("%v", clusters)
	}
	if top := got.TopHosts.BySeries; len(top) != 1 || top[0].Name != "n1" || top[0].Cluster != "alpha" || top[0].Series != 3 {
		t.Errorf("%+v", top)
	}
	if top := got.TopMetrics.BySeries; len(top) != 1 || top[0].Name != "cpu_load" || top[0].Cluster != "" || top[0].Series != 3 {
		t.Errorf("%+v", top)
	}
	if got.Series != 5 || got.Journal.Segments == 0 || got.Journal.Bytes == 0 || got.Memory.Bytes <= 0 || got.Memory.Process <= 0 {
		t.Errorf("%+v", got)
	}
	p.stopWell(t)
	q := serve(t, s)
	if got := askedAs[rest.Status](t, q, "GET", "/api/status"); got.Checkpoint == nil || got.Checkpoint.Time == 0 || got.Hosts != 3 {
		t.Errorf("after a restart: %+v", got)
	}
}

// TestSwaggerUIIsForDevelopment: it is only served with -dev.
func TestSwaggerUIIsForDevelopment(t *testing.T) {
	f := func(status int, args ...string) {
		t.Helper()
		p := serve(t, newSettings(t), args...)
		p.client.Transport = resttest.Bare(p.client.Transport)
		for _, path := range []string{"/swagger", "/swagger/", "/swagger/openapi.json"} {
			if got := p.send(t, "", "GET", path, ""); got.status != status {
				t.Errorf("%q: %s: %d, want %d", args, path, got.status, status)
			}
		}
	}
	f(404)
	f(200, "-dev")
}
