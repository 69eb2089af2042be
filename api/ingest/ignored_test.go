package ingest

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/api/lineprotocol"
)

// Where ignored tags make lines replace each other, one message per metric and hour names the tags
// and the remedy.
func TestIgnoredTagsAreLogged(t *testing.T) {
	var log bytes.Buffer
	g, _ := newIngester(t, map[string][]string{"cpu_system": {"cpu"}}, "cpu_user", "cpu_system", "load")
	g.ignored.log = slog.New(slog.NewTextHandler(&log, nil))
	clock := time.Unix(now, 0)
	g.Now = func() time.Time { return clock }
	telegraf := Source{Cluster: "c", Transport: "nats", Dialect: lineprotocol.Dialect{EachField: true}}
	f := func(name string, src Source, batch string, duplicates int, want ...string) {
		t.Helper()
		log.Reset()
		report, err := g.Batch(t.Context(), src, []byte(batch))
		if err != nil || report.Duplicates != duplicates {
			t.Errorf("%s: %+v, %v", name, report, err)
		}
		var got []string
		for line := range strings.Lines(log.String()) {
			_, line, _ = strings.Cut(line, "level=")
			got = append(got, strings.TrimSpace(line))
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	message := func(metric, host, tags string) string {
		return fmt.Sprintf(`WARN msg="lines of a metric replace each other: they differ only in ignored tags" metric=%s cluster=c host=%s tags=%s `+
			`remedy="list the tags that separate devices in the metric's extra-tags"`, metric, host, tags)
	}
	const batch = "cpu,cpu=cpu0,host=n1,rack=1 user=1,system=1 1795308600000000000\n" +
		"cpu,cpu=cpu1,host=n1,rack=1 user=2,system=2 1795308600000000000\n" +
		"cpu,cpu=cpu2,host=n1,rack=1 user=3,system=3 1795308600000000000\n"
	f("the first", telegraf, batch, 2, message("cpu_user", "n1", "cpu"))
	f("within the hour", telegraf, batch, 2)
	f("another metric", Source{Cluster: "c"}, "load,hostname=n2,unit=a,z=1 value=1\nload,hostname=n2,unit=b value=1\n", 1, message("load", "n2", `"unit z"`))
	clock = clock.Add(time.Hour - time.Second)
	f("almost an hour", telegraf, batch, 2)
	clock = clock.Add(time.Second)
	f("an hour", telegraf, batch, 2, message("cpu_user", "n1", "cpu"))

	// Nothing is ignored here: repeated lines, and tags in another order.
	clock = clock.Add(2 * time.Hour)
	f("repeated", Source{Cluster: "c"}, "load,hostname=n3,unit=a value=1 1795308600\nload,hostname=n3,unit=a value=1 1795308600\n", 0)
	f("in another order", Source{Cluster: "c"}, "load,hostname=n4,a=1,b=2 value=1 1795308600\nload,b=2,hostname=n4,a=1 value=1 1795308600\n", 1)
	// A sender cannot fill the log with the names of its tags.
	long := strings.Repeat("x", 1000)
	f("long", Source{Cluster: "c"}, "load,hostname=n5,"+long+"=1 value=1 1795308600\nload,hostname=n5,"+long+"=2 value=1 1795308600\n", 1,
		message("load", "n5", long[:200]+"..."))

	g.ignored.log = nil
	clock = clock.Add(2 * time.Hour)
	f("no log", telegraf, batch, 2)
}
