package e2e

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestJobEventsOverNATS: users see a job's samples from its published start to its published end. A
// publisher that may only write samples cannot publish jobs.
func TestJobEventsOverNATS(t *testing.T) {
	s := newSettings(t).natsAt(map[string]any{"embedded": map[string]any{"listen": "127.0.0.1:0"}},
		map[string]any{"subscribe-to": subject, "cluster-tag": "alpha"})
	s["auth"] = map[string]any{"jobs": map[string]any{"nats": map[string]any{"subject": "cc.job.event", "publishers": []string{"slurmctld"}}}}
	p := process(t, s)
	begin := now() - 3600
	var lines strings.Builder
	for minute := range int64(60) {
		fmt.Fprintf(&lines, "cpu_load,hostname=n1 value=%d %d\n", minute, begin+60*minute)
	}
	p.write(t, lines.String())

	c, err := natsgo.Connect(p.nats, natsgo.UserInfo("adapter", as("slurmctld")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	emit := func(token, function, event string) {
		t.Helper()
		m := natsgo.NewMsg("cc.job.event")
		m.Header.Set("Authorization", "Bearer "+token)
		m.Data = []byte("job,function=" + function + " event=" + strconv.Quote(event) + " 1795200000000000000\n")
		if err := c.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	sees := func(user string) int { return p.seenBy(t, as(user, "user"), begin, begin+3600)["n1"] }
	job := func(user string, start int64) string {
		return fmt.Sprintf(`{"jobId":7,"user":%q,"project":"p","cluster":"alpha","startTime":%d,"shared":"none","resources":[{"hostname":"n1"}]}`, user, start)
	}
	emit(as("mallory", "api"), "start_job", job("mallory", begin))
	cmdtest.Eventually(t, "it is refused", func() bool { return p.metric(t, "ringstore_nats_refused_total", "subject", "cc.job.event") == 1 })
	emit(as("slurmctld"), "start_job", job("ann", begin+600))
	cmdtest.Eventually(t, "the job is seen", func() bool { return sees("ann") == 50 })
	emit(as("slurmctld"), "stop_job", fmt.Sprintf(`{"jobId":7,"cluster":"alpha","startTime":%d,"stopTime":%d,"jobState":"timeout"}`, begin+600, begin+1200))
	cmdtest.Eventually(t, "its end is known", func() bool { return sees("ann") == 10 })
	if n := sees("mallory"); n != 0 {
		t.Errorf("mallory sees %d", n)
	}
}

// TestEventsOfCCSlurmAdapter: the lines of the real adapter, which sends no headers and no start time
// when a job stops. On a shared node, its user does not see the next user's threads.
func TestEventsOfCCSlurmAdapter(t *testing.T) {
	s := newSettings(t).natsAt(map[string]any{"embedded": map[string]any{"listen": "127.0.0.1:0"}},
		map[string]any{"subscribe-to": subject, "cluster-tag": "alpha"})
	s["auth"] = map[string]any{"jobs": map[string]any{"nats": map[string]any{
		"subject": "jobs", "authorization": "connection", "publishers": []string{"slurmctld"},
	}}}
	p := process(t, s)
	begin := now() - 3600
	var lines strings.Builder
	for minute := range int64(60) {
		fmt.Fprintf(&lines, "cpu_load,hostname=n1,type=hwthread,type-id=3 value=%d %d\n", minute, begin+60*minute)
	}
	p.write(t, lines.String())
	c, err := natsgo.Connect(p.nats, natsgo.UserInfo("slurm", as("slurmctld")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	emit := func(line string) {
		t.Helper()
		if err := errors.Join(c.Publish("jobs", []byte(line)), c.Flush()); err != nil {
			t.Fatal(err)
		}
	}
	start := func(id, at int64, user string) string {
		return fmt.Sprintf(`job,function=start_job,hostname=slurmctl1,type=node,type-id=0 event="{\"jobId\":%d,\"user\":\"%s\",\"project\":\"p1\",`+
			`\"cluster\":\"alpha\",\"subCluster\":\"main\",\"partition\":\"work\",\"numNodes\":1,\"numHwthreads\":1,\"shared\":\"multi_user\",`+
			`\"smt\":1,\"jobState\":\"running\",\"startTime\":%d,\"walltime\":86400,\"resources\":[{\"hostname\":\"n1\",\"hwthreads\":[3]}],`+
			`\"metaData\":{\"jobName\":\"a\\nb\"}}" %d000000000`, id, user, at, at)
	}
	stop := func(id, at int64) string {
		return fmt.Sprintf(`job,function=stop_job,hostname=slurmctl1,partition=work,type=node,type-id=0 event="{\"jobId\":%d,\"cluster\":\"alpha\",`+
			`\"jobState\":\"completed\",\"stopTime\":%d}" %d000000000`, id, at, at)
	}
	sees := func(user string) int { return p.seenBy(t, as(user, "user"), begin, begin+3600)["n1"] }
	emit(start(4711, begin+600, "ann"))
	cmdtest.Eventually(t, "the job is seen", func() bool { return sees("ann") == 50 })
	emit(stop(4711, begin+1200))
	emit(start(4712, begin+1800, "bob"))
	cmdtest.Eventually(t, "the next user's job is seen", func() bool { return sees("bob") == 30 })
	if n := sees("ann"); n != 10 {
		t.Errorf("ann sees %d samples after the end of the job, want 10", n)
	}
	emit(stop(4711, begin+1200))
	emit(stop(99, begin+1200))
	cmdtest.Eventually(t, "stops of closed and unknown jobs are ignored", func() bool {
		return p.metric(t, "ringstore_jobs_stops_ignored_total") == 2
	})
	if n := p.metric(t, "ringstore_nats_refused_total"); n != 0 {
		t.Errorf("%v messages are refused", n)
	}
}
