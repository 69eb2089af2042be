package ingest

import (
	"reflect"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/lineprotocol"
)

// A line whose metric is not configured is skipped whatever else it has. The lines of collectors
// are sent exactly so.
func TestUnconfiguredMetricsAreSkippedWhateverTheyHave(t *testing.T) {
	f := func(line string, dialect lineprotocol.Dialect, unknown int, reasons ...string) {
		t.Helper()
		g, s := newIngester(t, nil, "load", "cpu_user")
		g.Aliases = map[string]string{"system_load1": "load"}
		for range 2 { // with a new key and a cached one
			report, err := g.Stream(t.Context(), Source{Cluster: "c", Dialect: dialect}, strings.NewReader(line+"\nload,hostname=n value=1"))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range report.Rejected {
				got = append(got, r.Reason)
			}
			if report.Unknown != unknown || report.Accepted != 1 || !reflect.DeepEqual(got, reasons) {
				t.Errorf("%.80q: %+v, want %d unknown and rejected %q", line, report, unknown, reasons)
			}
		}
		if n := s.Size().Series; n != 1 {
			t.Errorf("%.80q: %d series", line, n)
		}
	}
	var one lineprotocol.Dialect
	each := lineprotocol.Dialect{EachField: true}

	f(`topproc1,hostname=h value="python3"`, one, 1)
	f(`topproc1,hostname=h,type=node value="python3" 1795308600000000000`, one, 1)
	f("nope,hostname=h value=NaN", one, 1)
	f("nope,hostname=h value=-Inf 1795308600", one, 1)
	f("nope,hostname=h value=true", one, 1)
	f("nope,hostname=h other=1", one, 1)
	f("nope value=1", one, 1)
	f("nope,type=node value=1 1795308600", one, 1)
	f("nope,hostname=a,hostname=b value=1", one, 1)
	f("nope,hostname=h,type-id=1 value=1", one, 1)
	f("nope,hostname=.. value=1", one, 1)
	f("nope,hostname=h value=1 yesterday", one, 1)
	f("nope,hostname=h value=1 1", one, 1)
	f(`nope,hostname=h value="`+strings.Repeat("x", 3*chunkBytes)+`"`, one, 1)
	f("disk,host=h used=NaN,free=1", each, 1)
	f("disk used=1,free=2", each, 2)

	// What is configured stays strict, and so does what is no line.
	f(`load,hostname=h value="python3"`, one, 0, `field "value": a string is not a number`)
	f("load,hostname=h value=true", one, 0, `field "value": a bool is not a number`)
	f("load,hostname=h value=NaN", one, 0, `column 23: malformed field: "NaN"`)
	f("load value=2", one, 0, "no hostname tag")
	f("load,hostname=a,hostname=b value=1", one, 0, `tag "hostname" appears twice`)
	f("system_load1,hostname=h value=NaN", one, 0, `column 31: malformed field: "NaN"`)
	f("cpu,host=h idle=1,user=NaN", each, 0, `column 24: malformed field: "NaN"`)
	f(`{"metric": "load", "value": 1}`, one, 0, `column 18: malformed field: ", \"value\": 1}"`)
	f("load 0.5", one, 0, "the line ends where a field is expected")
	f("nope", one, 0, "no field after the metric and its tags")
}

// A gateway's own name in the tag "host", as Telegraf adds it, is not the host of the line.
func TestHostnameWinsOverHost(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	report, err := g.Batch(t.Context(), Source{}, []byte("load,cluster=c,host=gateway,hostname=n1 value=1\nload,cluster=c,hostname=n2,host=gateway value=2\nload,cluster=c,host=n3 value=3\n"))
	if err != nil || report.Accepted != 3 || report.RejectedTotal != 0 {
		t.Fatalf("%+v, %v", report, err)
	}
	if hosts := s.Hosts("c"); !reflect.DeepEqual(hosts, []string{"n1", "n2", "n3"}) {
		t.Errorf("hosts %q", hosts)
	}
}
