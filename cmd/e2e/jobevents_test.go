package e2e

import (
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
		return fmt.Sprintf(`{"jobId":7,"user":%q,"project":"p","cluster":"alpha","startTime":%d,"resources":[{"hostname":"n1"}]}`, user, start)
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
