package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/api/rest/resttest"
	"github.com/ringstore/ringstore/memstore"
)

func TestBadQueriesAreRefused(t *testing.T) {
	d := open(t)
	f := func(body string, text string) {
		t.Helper()
		got := d.send(t, "POST", "/api/query", body)
		if fail := got.failure(t); got.status != 400 || !strings.Contains(fail.Error, text) {
			t.Errorf("%.80s: %d %s, want 400 with %s", body, got.status, got.body, text)
		}
		if len(got.body) > 2000 {
			t.Errorf("%.80s: the error has %d bytes", body, len(got.body))
		}
	}
	f(``, "empty")
	f(`   `, "empty")
	f(`{`, "unexpected end")
	f(`{"cluster":"alpha"`, "unexpected end")
	f(`{"cluster":alpha}`, "byte 12")
	f(`[]`, "the body: expected an object; got array")
	f(`"alpha"`, "the body: expected an object; got string")
	f(`{} {}`, "more data after it")
	f(`{} x`, "more data after it")
	f(`{"cluster":1}`, "cluster: expected a string; got number")
	f(`{"from":"now"}`, "from: expected a whole number; got string")
	f(`{"from":1.5}`, "from: expected a whole number; got number 1.5")
	f(`{"to":1e300}`, "to: expected a whole number")
	f(`{"to":9223372036854775808}`, "to: expected a whole number")
	f(`{"to":1`+strings.Repeat("0", 1<<20)+`}`, "to: expected a whole number")
	f(`{"with-data":"yes"}`, "with-data: expected true or false; got string")
	f(`{"for-all-nodes":"cpu_load"}`, "for-all-nodes: expected a list; got string")
	f(`{"for-all-nodes":["`+strings.Repeat("x", 257)+`"]}`, "for-all-nodes[0]: longer than 256")
	f(`{"queries":{}}`, "queries: expected a list")
	f(`{"queries":"x"}`, "queries: expected a list")
	f(`{"queries":[1]}`, "queries[0]: expected an object; got number")
	f(`{"queries":[{},{"metric":1}]}`, "queries[1].metric: expected a string; got number")
	f(`{"queries":[{"host":{}}]}`, "queries[0].host: expected a string; got object")
	f(`{"queries":[{"type-ids":"0"}]}`, "queries[0].type-ids: expected a list; got string")
	f(`{"queries":[{"type-ids":[0]}]}`, "queries[0].type-ids")
	f(`{"queries":[{"scale-by":"2"}]}`, "queries[0].scale-by: expected a number; got string")
	f(`{"queries":[{"resolution":"60"}]}`, "queries[0].resolution: expected a whole number; got string")
	f(`{"queries":[{"resample":"median"}]}`, "queries[0].resample")
	f(`{"queries":[{"metric":"`+strings.Repeat("x", 257)+`"}]}`, "queries[0].metric: longer than 256")
	f(`{"queries":[`+strings.Repeat(`{},`, 100_000)+`{}]}`, "more than 100000")
	f(`{"x":`+strings.Repeat("[", 1_000_000), "depth")
	f(`{"queries":`+strings.Repeat("[", 1_000_000), "depth")
	f(strings.Repeat(`{"queries":`, 500_000), "depth")
}

func TestOversizedQueriesAreRefused(t *testing.T) {
	d := open(t)
	body := `{"x":"` + strings.Repeat("x", 8<<20) + `"}`
	if got := d.send(t, "POST", "/api/query", body); got.status != 413 || strings.Contains(got.body, "limits.body-bytes") {
		t.Errorf("plain: %d %s", got.status, got.body)
	}
	if got := d.send(t, "POST", "/api/query", gzipped(body), "Content-Encoding", "gzip"); got.status != 413 {
		t.Errorf("gzip: %d %s", got.status, got.body)
	}
}

func TestValuesPerQueryAreLimited(t *testing.T) {
	const limit = 100
	d := open(t, func(o *rest.Options) { o.Limits.ValuesPerQuery = limit })
	d.write(t, "cpu_load,hostname=n1 value=1 {0}", "cpu_load,hostname=n2 value=1 {0}")
	f := func(request string, ok bool) {
		t.Helper()
		got := d.send(t, "POST", "/api/query", atBase(request))
		switch {
		case ok && got.status != 200:
			t.Errorf("%.100s: %d %s", request, got.status, got.body)
		case !ok && (got.status != 400 || !strings.Contains(got.failure(t).Error, "more than 100 values")):
			t.Errorf("%.100s: %d %.100s", request, got.status, got.body)
		}
	}
	const cpu = `{"metric":"cpu_load","host":"n1"}`
	f(`{"cluster":"alpha","from":{0},"to":{6000},"queries":[`+cpu+`]}`, true)
	f(`{"cluster":"alpha","from":{0},"to":{6060},"queries":[`+cpu+`]}`, false)
	f(`{"cluster":"alpha","from":{0},"to":{3000},"queries":[`+cpu+`,`+cpu+`]}`, true)
	f(`{"cluster":"alpha","from":{0},"to":{3060},"queries":[`+cpu+`,`+cpu+`]}`, false)
	f(`{"cluster":"alpha","from":{0},"to":{3000},"for-all-nodes":["cpu_load"]}`, true)
	f(`{"cluster":"alpha","from":{0},"to":{3060},"for-all-nodes":["cpu_load"]}`, false)
	f(`{"cluster":"alpha","from":{0},"to":{3000},"for-all-nodes":["cpu_load"],"queries":[`+cpu+`]}`, false)
	// The range is clamped to the retention, which is a little more than three days here.
	f(`{"cluster":"alpha","from":0,"to":99999999999,"queries":[`+cpu+`]}`, false)
	f(`{"cluster":"alpha","from":0,"to":1000,"queries":[`+cpu+`]}`, true)
	f(`{"cluster":"alpha","from":-9223372036854775808,"to":9223372036854775807,"queries":[`+cpu+`]}`, false)
	// A coarser resolution reads all values.
	f(`{"cluster":"alpha","from":{0},"to":{6060},"queries":[{"metric":"cpu_load","host":"n1","resolution":600}]}`, false)
	// Each device that exists counts, also in an aggregate, but only once in the same one.
	var lines []string
	for id := range 20 {
		lines = append(lines, fmt.Sprintf("ipc,hostname=n1,type=hwthread,type-id=%d value=1 {0}", id),
			fmt.Sprintf("mem_used,hostname=n1,type=socket,type-id=%d value=1 {0}", id))
	}
	d.write(t, lines...)
	f(`{"cluster":"alpha","from":{0},"to":{300},"queries":[{"metric":"ipc","host":"n1"}]}`, true)
	f(`{"cluster":"alpha","from":{0},"to":{360},"queries":[{"metric":"ipc","host":"n1"}]}`, false)
	group := `{"cluster":"alpha","from":{0},"to":{%d},"queries":[{"metric":"ipc","host":"n1","type":"hwthread","type-ids":[%s],"aggreg":true}]}`
	f(fmt.Sprintf(group, 3000, `"0","1"`), true)
	f(fmt.Sprintf(group, 3060, `"0","1"`), false)
	f(fmt.Sprintf(group, 3000, `"0","0","1","99","0","1","98"`), true)
	// A query without an answer counts as one.
	f(`{"cluster":"alpha","from":{0},"to":{6000},"queries":[{"metric":"ipc","host":"n1","resolution":61}]}`, true)
	f(`{"cluster":"alpha","from":{0},"to":{6000},"queries":[{"metric":"mem_used","host":"n1"}]}`, true)
	threads := func(n int) string { return strings.TrimSuffix(strings.Repeat(`"0",`, n), ",") }
	devices := `{"cluster":"alpha","from":{0},"to":{%d},"queries":[{"metric":"ipc","host":"n1","type":"hwthread","type-ids":[%s],"aggreg":%t}]}`
	f(fmt.Sprintf(devices, 600, threads(10), false), true)
	f(fmt.Sprintf(devices, 600, threads(11), false), false)
	f(fmt.Sprintf(devices, 600, threads(11), true), true)
	f(fmt.Sprintf(devices, 600, `"0","1","2","3","4","5","6","7","8","9","10"`, true), false)
	f(fmt.Sprintf(devices, 0, threads(101), false), false)
	parts := `{"cluster":"alpha","from":{0},"to":{60},"queries":[{"metric":"ipc","host":"n1","type":"hwthread","type-ids":[%s],"subtype":"s","subtype-ids":[%s]}]}`
	f(fmt.Sprintf(parts, threads(10), threads(10)), true)
	f(fmt.Sprintf(parts, threads(10), threads(11)), false)
	f(`{"from":1,"to":0,"queries":[`+strings.Repeat(`{},`, 99)+`{}]}`, true)
	f(`{"from":1,"to":0,"queries":[`+strings.Repeat(`{},`, 100)+`{}]}`, false)
}

// Without a configured limit, users and managers may read 50 million values, and services any number.
func TestDefaultLimitOfValuesDependsOnTheRole(t *testing.T) {
	var lines []string
	for id := range 200 {
		lines = append(lines, fmt.Sprintf("fast,hostname=n1,type=hwthread,type-id=%d value=1 {0}", id))
	}
	const request = `{"cluster":"alpha","from":0,"to":99999999999,"with-data":false,"queries":[{"metric":"fast","host":"n1"%s}]}`
	var part []string
	for id := range 150 {
		part = append(part, strconv.Quote(strconv.Itoa(id)))
	}
	most := fmt.Sprintf(request, `,"type":"hwthread","aggreg":true,"type-ids":[`+strings.Join(part, ",")+"]")
	f := func(limit int, body string, want int, roles ...string) {
		t.Helper()
		d := open(t, func(o *rest.Options) { o.Limits.ValuesPerQuery, o.Policy.UsersReadAll = limit, true })
		d.write(t, lines...)
		got := d.send(t, "POST", "/api/query", body, "Authorization", "Bearer "+d.token(roles...))
		if got.status != want || want == 400 && !strings.Contains(got.failure(t).Error, "values") {
			t.Errorf("limit %d, %v: %d %.200s, want %d", limit, roles, got.status, got.body, want)
		}
	}
	all := fmt.Sprintf(request, "") // 200 threads times 260,000 seconds
	for _, roles := range [][]string{{"user"}, {"manager"}, {"user", "manager"}, {"user", "api"}} {
		f(0, all, 400, roles...)
		f(0, most, 200, roles...)
		f(40_000_000, all, 400, roles...)
		f(60_000_000, all, 200, roles...)
	}
	for _, roles := range [][]string{{"admin"}, {"api"}, {"support"}, {"admin", "user"}} {
		f(0, all, 200, roles...)
		f(40_000_000, all, 400, roles...)
	}
}

func TestRangeIsClampedBeforeValuesAreCounted(t *testing.T) {
	d := open(t)
	d.write(t, "cpu_load,hostname=n1 value=7 {0}")
	a := d.send(t, "GET", "/api/query", `{"cluster":"alpha","from":0,"to":99999999999,"queries":[{"metric":"cpu_load","host":"n1"}]}`).answer(t)
	e := a.Results[0][0]
	if len(e.Data) == 0 || len(e.Data) > 73*60 || e.From < now-73*3600 || *e.Avg != 7 {
		t.Errorf("%d values from %d on, average %s", len(e.Data), e.From, resttest.Show(e.Avg))
	}
}

func TestQueriesSelectDevices(t *testing.T) {
	d := open(t)
	d.write(t,
		"flops_any,hostname=n1,type=hwthread,type-id=0 value=1 {0}",
		"flops_any,hostname=n1,type=hwthread,type-id=1 value=10 {0}",
		"file_bw,hostname=n1,type=node,stype=filesystem,stype-id=/home value=100 {0}",
		"file_bw,hostname=n1,type=node,stype=filesystem,stype-id=/work value=1000 {0}",
		"acc_power,hostname=n1,type=accelerator,type-id=0,stype=engine,stype-id=a value=1 {0}",
		"acc_power,hostname=n1,type=accelerator,type-id=0,stype=engine,stype-id=b value=2 {0}",
		"acc_power,hostname=n1,type=accelerator,type-id=1,stype=engine,stype-id=a value=4 {0}",
		"acc_power,hostname=n1,type=accelerator,type-id=1,stype=engine,stype-id=b value=8 {0}",
		"cpu_load,hostname=n1,type=hwthread,type-id=0 value=1 {0}",
		"cpu_load,hostname=n1,type=hwthread,type-id=1 value=1 {0}",
	)
	// want lists the average or the error of each entry.
	f := func(query, want string) {
		t.Helper()
		a := d.send(t, "POST", "/api/query", atBase(`{"cluster":"alpha","from":{0},"to":{60},"queries":[`+query+`]}`)).answer(t)
		var got []string
		for _, e := range a.Results[0] {
			if e.Error != nil {
				got = append(got, *e.Error)
				continue
			}
			got = append(got, resttest.Show(e.Avg))
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %s, want %s", query, s, want)
		}
	}
	f(`{"metric":"flops_any","host":"n1"}`, "11")
	f(`{"metric":"flops_any","host":"n1","type":null}`, "11")
	f(`{"metric":"flops_any","host":"n1","aggreg":true}`, "11")
	f(`{"metric":"flops_any","host":"n1","type":"node"}`, "11")
	f(`{"metric":"flops_any","host":"n1","type":"node","type-ids":["0","1"]}`, "11")
	f(`{"metric":"flops_any","host":"n1","type":"hwthread"}`, "")
	f(`{"metric":"flops_any","host":"n1","type":"hwthread","aggreg":true}`, "")
	f(`{"metric":"flops_any","host":"n1","type":"hwthread","type-ids":["1","2","0"]}`, "10 1")
	f(`{"metric":"flops_any","host":"n1","type":"hwthread","type-ids":["1","2","0"],"aggreg":true}`, "11")
	f(`{"metric":"file_bw","host":"n1"}`, "1100")
	f(`{"metric":"file_bw","host":"n1","type":"node","subtype":"filesystem","subtype-ids":["/work","/home","/tmp"]}`, "1000 100")
	f(`{"metric":"file_bw","host":"n1","type":"node","type-ids":["0","1"],"subtype":"filesystem","subtype-ids":["/work"]}`, "1000")
	f(`{"metric":"file_bw","host":"n1","type":"node","subtype":"filesystem","subtype-ids":["/work","/home"],"aggreg":true}`, "1100")
	f(`{"metric":"file_bw","host":"n1","subtype":"filesystem","subtype-ids":["/work"]}`, "1100")
	f(`{"metric":"acc_power","host":"n1","type":"accelerator","type-ids":["0","1"]}`, "3 12")
	f(`{"metric":"acc_power","host":"n1","type":"accelerator","type-ids":["0","1"],"subtype":"engine","subtype-ids":["a","b"]}`, "1 2 4 8")
	f(`{"metric":"acc_power","host":"n1","type":"accelerator","type-ids":["0","1"],"subtype":"engine","subtype-ids":["b"],"aggreg":true}`, "10")
	f(`{"metric":"flops_any","host":"n1","scale-by":2}`, "22")
	f(`{"metric":"flops_any","host":"n1","scale-by":0}`, "11")
	f(`{"metric":"flops_any","host":"n1","scale-by":null}`, "11")
	f(`{"metric":"flops_any","host":"nope"}`, "")
	f(`{"metric":"cpu_load","host":"n1"}`, "no aggregation is configured for the metric cpu_load: it is held by hwthread 0, hwthread 1")
	f(`{"metric":"nope","host":"n1"}`, "unknown metric: nope")
	f(`{"metric":"n\"o\n\u0000<p>\ud800e","host":"n1"}`, "unknown metric: n\"o\n\u0000<p>\ufffde")
	f(`null`, "unknown metric: ")
}

func TestAnswersHaveTheRequestedMembers(t *testing.T) {
	d := open(t)
	d.write(t, "cpu_load,hostname=n1 value=2 {0}", "cpu_load,hostname=n1 value=4 {120}")
	f := func(options, want string) {
		t.Helper()
		got := d.send(t, "GET", "/api/query", atBase(`{"cluster":"alpha","from":{-60},"to":{240}`+options+`,"queries":[{"metric":"cpu_load","host":"n1"}]}`))
		if want = `{"results":[[` + atBase(want) + `]]}` + "\n"; got.status != 200 || got.body != want {
			t.Errorf("%s: %s\nwant %s", options, got.body, want)
		}
		if got.header.Get("Content-Type") != "application/json" {
			t.Errorf("Content-Type: %s", got.header.Get("Content-Type"))
		}
	}
	f(``, `{"data":[null,2,null,4],"from":{-60},"to":{180},"resolution":60,"avg":3,"min":2,"max":4}`)
	f(`,"with-padding":null`, `{"data":[null,2,null,4],"from":{-60},"to":{180},"resolution":60,"avg":3,"min":2,"max":4}`)
	f(`,"with-padding":true`, `{"data":[null,2,null,4,null],"from":{-60},"to":{240},"resolution":60,"avg":3,"min":2,"max":4}`)
	f(`,"to":{120}`, `{"data":[null,2,null],"from":{-60},"to":{120},"resolution":60,"avg":2,"min":2,"max":2}`)
	f(`,"from":{180}`, `{"from":{180},"to":{180},"resolution":60,"avg":null,"min":null,"max":null}`)
	f(`,"with-stats":true,"with-data":null`, `{"data":[null,2,null,4],"from":{-60},"to":{180},"resolution":60,"avg":3,"min":2,"max":4}`)
	f(`,"with-padding":false`, `{"data":[2,null,4],"from":{0},"to":{180},"resolution":60,"avg":3,"min":2,"max":4}`)
	f(`,"with-stats":false,"with-padding":false`, `{"data":[2,null,4],"from":{0},"to":{180},"resolution":60,"avg":0,"min":0,"max":0}`)
	f(`,"with-data":false`, `{"from":{-60},"to":{180},"resolution":60,"avg":3,"min":2,"max":4}`)
	f(`,"from":{240},"with-padding":false`, `{"from":{240},"to":{240},"resolution":60,"avg":null,"min":null,"max":null}`)
	f(`,"from":{300}`, `{"error":"invalid time range: from is after to","from":0,"to":0,"resolution":0,"avg":0,"min":0,"max":0}`)
}

func TestForAllNodesFollowsExplicitQueries(t *testing.T) {
	d := open(t)
	d.write(t, "cpu_load,hostname=n1 value=1 {0}", `cpu_load,hostname=n"2 value=2 {0}`, "mem_used,hostname=n1 value=3 {0}")
	got := d.send(t, "POST", "/api/query/", atBase(`{"cluster":"alpha","from":{0},"to":{60},"with-data":false,
		"queries":[{"metric":"mem_used","host":"n1"}],"for-all-nodes":["cpu_load","mem_used"]}`))
	entry := func(v int) string {
		return fmt.Sprintf(`{"from":{0},"to":{60},"resolution":60,"avg":%d,"min":%d,"max":%d}`, v, v, v)
	}
	want := `{"queries":[` +
		`{"metric":"cpu_load","host":"n\"2","resolution":0,"aggreg":false},` +
		`{"metric":"mem_used","host":"n\"2","resolution":0,"aggreg":false},` +
		`{"metric":"cpu_load","host":"n1","resolution":0,"aggreg":false},` +
		`{"metric":"mem_used","host":"n1","resolution":0,"aggreg":false}],` +
		`"results":[[` + entry(3) + `],[` + entry(2) + `],[],[` + entry(1) + `],[` + entry(3) + `]]}` + "\n"
	if got.body != atBase(want) {
		t.Errorf("%s\nwant\n%s", got.body, atBase(want))
	}
	if got := d.send(t, "POST", "/api/query", `{"cluster":"nope","for-all-nodes":["cpu_load"]}`); got.body != `{"results":[],"warnings":["unknown cluster \"nope\""]}`+"\n" {
		t.Errorf("no hosts: %s", got.body)
	}
}

func TestResampling(t *testing.T) {
	d := open(t)
	var lines []string
	for i := range 1200 {
		lines = append(lines, fmt.Sprintf("fast,hostname=n1 value=%d {%d}", i, i))
	}
	d.write(t, lines...)
	f := func(resample string, first, last float64) {
		t.Helper()
		a := d.send(t, "POST", "/api/query", atBase(`{"cluster":"alpha","from":{0},"to":{1200},"queries":[
			{"metric":"fast","host":"n1","resolution":60,"resample":"`+resample+`"}]}`)).answer(t)
		e := a.Results[0][0]
		if n := len(e.Data); n != 20 || e.Resolution != 60 || *e.Data[0] != first || *e.Data[n-1] != last {
			t.Errorf("%s: %d values, resolution %d", resample, n, e.Resolution)
		}
		if *e.Min != first || *e.Max != last {
			t.Errorf("%s: the statistics differ from the values: min %s, max %s", resample, resttest.Show(e.Min), resttest.Show(e.Max))
		}
	}
	f("average", 29.5, 1169.5)
	f("min", 0, 1140)
	f("max", 59, 1199)
	f("lttb", 0, 1199)
	f("", 0, 1199)
}

func TestNumbersAreExact(t *testing.T) {
	d := open(t)
	f := func(v float64, want string) {
		t.Helper()
		d.write(t, fmt.Sprintf("cpu_load,hostname=n1 value=%v {0}", v))
		got := d.send(t, "POST", "/api/query", atBase(`{"cluster":"alpha","from":{0},"to":{60},"queries":[{"metric":"cpu_load","host":"n1"}]}`))
		if want := `{"data":[` + want + `],`; !strings.Contains(got.body, want) {
			t.Errorf("%v: %s, want %s", v, got.body, want)
		}
		e := got.answer(t).Results[0][0]
		if back, err := strconv.ParseFloat(want, 64); err != nil || math.Float64bits(*e.Data[0]) != math.Float64bits(back) {
			t.Errorf("%v: parsed again it is %v", v, *e.Data[0])
		}
	}
	f(0, "0")
	f(math.Copysign(0, -1), "-0")
	f(1, "1")
	f(-12, "-12")
	f(0.1, "0.1")
	f(0.0004, "0.0004")
	f(123456.789, "123456.789")
	f(1e15, "1000000000000000")
	f(1<<53, "9007199254740992")
	f(1e20, "100000000000000000000")
	f(1e21, "1e+21")
	f(1e-6, "0.000001")
	f(1e-7, "1e-07")
	f(math.MaxFloat64, "1.7976931348623157e+308")
	f(math.SmallestNonzeroFloat64, "5e-324")
	f(1.0/3, "0.333333333333333")
}

func TestInfinitiesAreNull(t *testing.T) {
	d := open(t)
	d.write(t, "cpu_load,hostname=n1 value=1e308 {0}", "cpu_load,hostname=n1 value=-1e308 {60}", "cpu_load,hostname=n1 value=1 {120}")
	got := d.send(t, "POST", "/api/query", atBase(`{"cluster":"alpha","from":{0},"to":{180},"queries":[{"metric":"cpu_load","host":"n1","scale-by":10}]}`))
	if want := `"data":[null,null,10]`; !strings.Contains(got.body, want) || !strings.Contains(got.body, `"min":null,"max":null`) {
		t.Errorf("%s, want %s", got.body, want)
	}
}

// faultyStore answers the first reads correctly, and later ones with an unexpected error or a
// panic.
type faultyStore struct {
	rest.Reader
	err   error
	after int64 // number of reads that succeed
	reads atomic.Int64
}

func (s *faultyStore) Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error) {
	switch reads := s.reads.Add(1); {
	case reads <= s.after:
		return s.Reader.Read(ctx, sel, r)
	case s.err != nil:
		return memstore.Data{}, s.err
	}
	panic("secret of the panic")
}

func TestInternalErrorsAreNotRevealed(t *testing.T) {
	d := open(t, func(o *rest.Options) {
		o.Store = &faultyStore{Reader: o.Store, err: fmt.Errorf("bad block at /var/lib/secret")}
	})
	got := d.send(t, "POST", "/api/query", `{"queries":[{"metric":"cpu_load","host":"n1"}]}`)
	if e := got.answer(t).Results[0][0]; e.Error == nil || *e.Error != "internal error" {
		t.Errorf("%s", got.body)
	}
	if !strings.Contains(d.log.String(), "bad block") {
		t.Errorf("the log lacks the error: %s", d.log)
	}
}

func TestPanicsAreRecovered(t *testing.T) {
	for _, compressed := range []bool{false, true} {
		d := open(t, func(o *rest.Options) {
			o.Store = &faultyStore{Reader: o.Store}
			o.Gzip = compressed
		})
		got := d.send(t, "POST", "/api/query", `{"queries":[{"metric":"cpu_load","host":"n1"}]}`)
		if got.status != 500 || got.failure(t).Error != "internal error" || strings.Contains(got.body, "secret") {
			t.Errorf("gzip %t: %d %s", compressed, got.status, got.body)
		}
		log := d.log.String()
		if !strings.Contains(log, "secret of the panic") || !strings.Contains(log, "query_test.go") || !strings.Contains(log, "level=ERROR") {
			t.Errorf("the log lacks the panic: %s", log)
		}
		if token := d.token("admin"); strings.Contains(log, token) || strings.Contains(log, "Bearer") {
			t.Error("the log contains the token")
		}
	}
}

// A response that cannot be completed must not look complete.
func TestFailedResponsesAreCutOff(t *testing.T) {
	f := func(compressed string, fault error) {
		t.Helper()
		d := open(t, func(o *rest.Options) {
			o.Store = &faultyStore{Reader: o.Store, after: 5, err: fault}
			o.Gzip = true
		})
		fill(t, d)
		req, _ := http.NewRequestWithContext(t.Context(), "POST", d.URL+"/api/query", strings.NewReader(largeQuery(10)))
		req.Header.Set("Authorization", "Bearer "+d.token("admin"))
		req.Header.Set("Accept-Encoding", compressed)
		resp, err := d.Client().Do(req)
		if err != nil {
			return // the connection may also end before the header
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err == nil {
			t.Errorf("%s: status %d and a complete body", compressed, resp.StatusCode)
		}
	}
	f("identity", nil)
	f("identity", context.DeadlineExceeded)
	f("gzip", nil)
	f("gzip", context.DeadlineExceeded)
}

// slowStore delays each read.
type slowStore struct {
	rest.Reader
	delay time.Duration
}

func (s slowStore) Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error) {
	time.Sleep(s.delay)
	return s.Reader.Read(ctx, sel, r)
}

// The stall timeout is for the client. It does not limit the time that the server takes.
func TestQueriesMayTakeLongerThanTheStallTimeout(t *testing.T) {
	d := open(t, func(o *rest.Options) {
		o.Stall = 250 * time.Millisecond
		o.Store = slowStore{o.Store, 300 * time.Millisecond}
	})
	fill(t, d)
	a := d.send(t, "POST", "/api/query", largeQuery(2)).answer(t)
	if len(a.Results) != 2 || len(a.Results[1]) != 1 || a.Results[1][0].Error != nil {
		t.Errorf("%d results", len(a.Results))
	}
}

// fill writes an hour of samples of host n1, one per second.
func fill(t testing.TB, d *deployment) {
	var b strings.Builder
	for i := range 3600 {
		fmt.Fprintf(&b, "fast,hostname=n1 value=%v {%d}\n", math.Sqrt(float64(i)), i)
	}
	d.write(t, b.String())
}

// largeQuery asks n times for the samples of fill, about 60 kB each.
func largeQuery(n int) string {
	q := strings.TrimSuffix(strings.Repeat(`{"metric":"fast","host":"n1"},`, n), ",")
	return atBase(`{"cluster":"alpha","from":{0},"to":{3600},"queries":[` + q + `]}`)
}

// countingStore counts reads.
type countingStore struct {
	rest.Reader
	mu    sync.Mutex
	reads int
}

func (s *countingStore) Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error) {
	s.mu.Lock()
	s.reads++
	s.mu.Unlock()
	return s.Reader.Read(ctx, sel, r)
}

// A query stops reading when its client disconnects.
func TestQueriesStopWhenTheClientDisconnects(t *testing.T) {
	var store *countingStore
	var registry *prometheus.Registry
	ended := make(chan struct{}, 1)
	d := open(t, func(o *rest.Options) {
		registry = o.Registry
		store = &countingStore{Reader: o.Store}
		o.Store = store
		o.Limits.ValuesPerQuery = math.MaxInt
	})
	fill(t, d)
	signalEnds(d, ended)
	ctx, cancel := context.WithCancel(t.Context())
	const queries = 20_000
	req, _ := http.NewRequestWithContext(ctx, "POST", d.URL+"/api/query", strings.NewReader(largeQuery(queries)))
	req.Header.Set("Authorization", "Bearer "+d.token("admin"))
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	cancel()
	resp.Body.Close()
	<-ended
	store.mu.Lock()
	defer store.mu.Unlock()
	if store.reads >= queries {
		t.Error("everything was read although the client disconnected")
	}
	if log := d.log.String(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("a client that disconnects caused a warning: %s", log)
	}
	if n := counted(t, registry, "ringstore_http_canceled_requests_total", "query"); n != 1 {
		t.Errorf("%v canceled queries are counted, want 1", n)
	}
}

// The values of responses are counted. Complete responses do not count as canceled.
func TestAnsweredValuesAreCounted(t *testing.T) {
	var registry *prometheus.Registry
	d := open(t, func(o *rest.Options) { registry = o.Registry })
	fill(t, d)
	d.send(t, "POST", "/api/query", largeQuery(2))
	f := func(name, route string, want float64) {
		t.Helper()
		if got := counted(t, registry, name, route); got != want {
			t.Errorf("%s of %s: %v, want %v", name, route, got, want)
		}
	}
	f("ringstore_http_answered_values_total", "query", 2*3600)
	f("ringstore_http_canceled_requests_total", "query", 0)
	f("ringstore_http_canceled_requests_total", "write", 0)
}

// counted returns the value of a route's counter.
func counted(t *testing.T, registry *prometheus.Registry, name, route string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == name && m.Label[0].GetValue() == route {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no counter %s of route %s", name, route)
	return 0
}

// For any body, the response is JSON with status 200 or 400.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"queries":[]}`, `{"queries":null,"for-all-nodes":null}`,
		`{"cluster":"alpha","from":1700000400,"to":1700001000,"queries":[{"metric":"cpu_load","host":"n1"}]}`,
		`{"cluster":"alpha","from":0,"to":9223372036854775807,"queries":[{"metric":"cpu_load","host":"n1","resolution":-9223372036854775808}]}`,
		`{"cluster":"alpha","from":-9223372036854775808,"to":1700001000,"queries":[{"metric":"cpu_load","host":"n1","resolution":9223372036854775800,"scale-by":-1e308}]}`,
		`{"cluster":"alpha","from":1700000000,"to":1700100000,"queries":[{"metric":"flops_any","host":"n1","type":"hwthread","type-ids":["0","0"],"aggreg":true,"resolution":600,"resample":"average"}]}`,
		`{"cluster":"alpha","to":1700001000,"for-all-nodes":["cpu_load","nope","\u0000\"\\"]}`,
		`{"Cluster":"alpha","QUERIES":[{"type":"node","subtype":"s","subtype-ids":["a"]}]}`,
		`{"queries":[[[[[]]]]]}`, `{"queries":[{}`, "\xff", `{"cluster":"\ud800"}`,
	} {
		f.Add(seed)
	}
	d := open(f, func(o *rest.Options) { o.Limits.ValuesPerQuery, o.Log = 20_000, nil })
	d.write(f, "cpu_load,hostname=n1 value=1 {0}", "flops_any,hostname=n1,type=hwthread,type-id=0 value=1 {0}")
	token := d.token("support")
	f.Fuzz(func(t *testing.T, body string) {
		req := httptest.NewRequestWithContext(t.Context(), "POST", "/api/query", strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer "+token)
		got := contract().Serve(t, d.Config.Handler, req)
		if got.Code != 200 && got.Code != 400 {
			t.Fatalf("status %d: %s", got.Code, got.Body)
		}
		if !json.Valid(got.Body.Bytes()) {
			t.Fatalf("not JSON: %.300q", got.Body)
		}
	})
}
