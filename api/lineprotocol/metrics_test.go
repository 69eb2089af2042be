package lineprotocol

import (
	"slices"
	"strings"
	"testing"
)

func TestMetricsOfARejectedLine(t *testing.T) {
	f := func(line string, d Dialect, want ...string) {
		t.Helper()
		if got := slices.Collect(d.Metrics([]byte(line))); !slices.Equal(got, want) {
			t.Errorf("%.100q: got %q, want %q", line, got, want)
		}
	}
	var one Dialect
	f(`topproc1,hostname=h value="python3"`, one, "topproc1")
	f("m value=NaN 5", one, "m")
	f(`  m\ x\,y,a=b\ c other=t`, one, "m x,y")
	f("m,a=,b value=1", one, "m")
	f("m "+strings.Repeat("x", MaxLine)+"=1", one, "m")

	each := Dialect{EachField: true}
	f(`cpu,host=n user=NaN,note="a, \"b=c\" d",value=1,sys\=x=2 5`, each, "cpu_user", "cpu_note", "cpu", "cpu_sys=x")
	f(`cpu note="open,user=1`, each, "cpu_note")
	f("cpu user=1,,sys=2", each, "cpu_user", "cpu_,sys")

	// No measurement or no field: nothing that could be a line.
	for _, line := range []string{
		"", " ", "m", "m,a=b", "m 5", `{"a": 1}`, "node_load1 0.5", `node_cpu{cpu="0",mode="idle"} 12`, ",a=b value=1", "m =1",
		"m\x00 value=1", "\xff value=1", strings.Repeat("m", MaxKey+1) + " value=1",
	} {
		f(line, one)
		f(line, each)
	}
}
