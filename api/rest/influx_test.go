package rest_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	influxdb2 "github.com/influxdata/influxdb-client-go/v2"
	influxhttp "github.com/influxdata/influxdb-client-go/v2/api/http"
	"github.com/influxdata/influxdb-client-go/v2/api/write"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

const (
	influxHost  = "t1"
	influxStamp = "1700000400" // base
)

// last returns the value near base of a metric of a host in cluster alpha, or "-" without one.
func (d *deployment) last(t testing.TB, host, metric string) string {
	t.Helper()
	query := fmt.Sprintf(`{"cluster": "alpha", "from": %d, "to": %d, "with-padding": false, "queries": [{"metric": %q, "host": %q}]}`, base-60, base+60, metric, host)
	for _, entries := range d.send(t, "POST", "/api/query", query).answer(t).Results {
		for _, e := range entries {
			for _, v := range e.ByTime() {
				return fmt.Sprint(v)
			}
		}
	}
	return "-"
}

func TestInfluxWrites(t *testing.T) {
	f := func(name, path, body, want string, headers ...string) {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			if got := d.send(t, "POST", path, body, headers...); got.status != 204 || got.body != "" {
				t.Fatalf("%d %s", got.status, got.body)
			}
			for _, pair := range strings.Fields(want) {
				metric, value, _ := strings.Cut(pair, "=")
				if got := d.last(t, influxHost, metric); got != value {
					t.Errorf("%s is %s, want %s", metric, got, value)
				}
			}
		})
	}
	const line = "mem,host=t1 used=5 " + influxStamp
	f("version 1", "/write?db=alpha", line+"000000000", "mem_used=5")
	f("version 2", "/api/v2/write?org=any&bucket=alpha", line+"000000000", "mem_used=5")
	f("a trailing slash", "/write/?db=alpha", line+"000000000", "mem_used=5")
	f("a retention policy", "/api/v2/write?bucket=alpha/autogen&precision=ns", line+"000000000", "mem_used=5")
	f("ignored parameters", "/write?db=alpha&rp=autogen&consistency=all", line+"000000000", "mem_used=5")
	f("seconds", "/write?db=alpha&precision=s", line, "mem_used=5")
	f("milliseconds", "/api/v2/write?bucket=alpha&precision=ms", line+"000", "mem_used=5")
	f("microseconds, version 1", "/write?db=alpha&precision=u", line+"000000", "mem_used=5")
	f("microseconds, version 2", "/api/v2/write?bucket=alpha&precision=us", line+"000000", "mem_used=5")
	f("minutes", "/write?db=alpha&precision=m", "mem,host=t1 used=5 28333340", "mem_used=5")
	f("the cluster is a tag", "/write?db=telegraf", "mem,host=t1,cluster=alpha used=5 "+influxStamp, "mem_used=5")
	f("the cluster is a tag only", "/api/v2/write", "mem,host=t1,cluster=alpha used=5 "+influxStamp, "mem_used=5")
	f("no line", "/write?db=alpha", "", "")
	f("gzip", "/api/v2/write?bucket=alpha&precision=s", gzipped(line), "mem_used=5", "Content-Encoding", "gzip")

	f("several fields, one that is not configured", "/write?db=alpha&precision=s",
		"cpu,host=t1,cpu=cpu-total load=0.5,power=7i,usage_idle=99 "+influxStamp, "cpu_load=0.5 cpu_power=7")
	f("a field named value", "/write?db=alpha&precision=s", "ipc,host=t1 value=1.5 "+influxStamp, "ipc=1.5")
	f("a line as a collector writes it", "/write?db=alpha&precision=s", "ipc,hostname=t1,type=node value=1.5 "+influxStamp, "ipc=1.5")
	f("an integer", "/write?db=alpha&precision=s", "mem,host=t1 used=-5i "+influxStamp, "mem_used=-5")
	f("an unsigned integer", "/write?db=alpha&precision=s", "mem,host=t1 used=5u "+influxStamp, "mem_used=5")
	f("true is 1", "/write?db=alpha&precision=s", "mem,host=t1 used=true "+influxStamp, "mem_used=1")
	f("a string is skipped", "/write?db=alpha&precision=s", `mem,host=t1 used="5",text="a, b" `+influxStamp, "mem_used=-")
	f("fields beside a string are stored", "/write?db=alpha&precision=s", `mem,host=t1 text="a=1, b",used=5 `+influxStamp, "mem_used=5")
}

func TestInfluxErrors(t *testing.T) {
	d := open(t)
	f := func(name, path, body string, status int, code, message string, headers ...string) {
		t.Helper()
		got := d.send(t, "POST", path, body, headers...)
		if got.status != status || got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		var answered map[string]any
		if err := json.Unmarshal([]byte(got.body), &answered); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want := map[string]any{"error": message}
		if code != "" {
			want = map[string]any{"code": code, "message": message}
		}
		delete(answered, "line")
		if fmt.Sprint(answered) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", name, answered, want)
		}
	}
	const v1, v2 = "/write?db=alpha&precision=s", "/api/v2/write?bucket=alpha&precision=s"
	const bad = "mem,host=t1 used=1 " + influxStamp + "\nmem used=1\nmem,host=t1 used=\nmem,host=t1 used=1 9\n"
	const partial = "partial write: 3 lines or fields rejected, 1 sample stored; line 2: no hostname tag; line 3: the line ends where a field is expected; line 4: the timestamp is older than the retention: 9 read as seconds is 1970-01-01T00:00:09Z"
	f("one line with several fields", v1, "cpu,host=t1 load=1,power=2,other=3 9", 400, "",
		"partial write: 2 lines or fields rejected, 0 samples stored; line 1: the timestamp is older than the retention: 9 read as seconds is 1970-01-01T00:00:09Z")
	f("partial, version 1", v1, bad, 400, "", partial)
	f("partial, version 2", v2, bad, 400, "invalid", partial)
	f("precision", "/write?precision=d", "", 400, "", "precision: expected n, ns, u, us, ms, s, m or h")
	f("no token", v1, "", 401, "", "a valid bearer token is required", "Authorization", "")
	f("no token", v2, "", 401, "unauthorized", "a valid bearer token is required", "Authorization", "")
	f("an invalid token", v2, "", 401, "unauthorized", "a valid bearer token is required", "Authorization", "Token garbage")
	f("no role", v2, "", 403, "forbidden", "the token's roles do not permit this", "Authorization", "Token "+d.token("user"))
	f("not gzip", v2, "no", 400, "invalid", "the body is not gzip, or damaged", "Content-Encoding", "gzip")
	f("wrong encoding", v2, "no", 415, "unsupported media type", "Content-Encoding: expected gzip or none", "Content-Encoding", "br")
	inURL := "URLs end up in logs, so a token in the URL is refused: send the header Authorization: Token ..."
	f("user and password in the URL", v1+"&u=any&p="+d.token("admin"), "", 400, "", inURL, "Authorization", "")
	f("a token in the URL", v2+"&token="+d.token("admin"), "", 400, "invalid", inURL)
	if got := d.send(t, "GET", "/write", ""); got.status != 405 || got.header.Get("Allow") != "POST" {
		t.Errorf("GET: %d %s", got.status, got.body)
	}
	small := open(t, func(o *rest.Options) { o.Limits.BodyBytes = 10 })
	if got := small.send(t, "POST", v2, strings.Repeat("x", 100)); got.status != 413 || !strings.Contains(got.body, `"code":"request too large"`) {
		t.Errorf("%d %s", got.status, got.body)
	}
	// An error after which the client must retry is not a partial write, even if lines are invalid.
	for _, rejected := range [][]ingest.Rejected{nil, {{Line: 1, Reason: "no hostname tag"}}} {
		full := open(t, func(o *rest.Options) {
			o.Ingester = faultyIngester{syscall.ENOSPC, ingest.Report{Accepted: 1, Rejected: rejected, RejectedTotal: len(rejected)}}
		})
		for path, want := range map[string]string{
			v1: `{"error":"the disk is full"}`, v2: `{"code":"unavailable","message":"the disk is full"}`,
		} {
			if got := full.send(t, "POST", path, "x"); got.status != 503 || got.header.Get("Retry-After") == "" || strings.TrimSpace(got.body) != want {
				t.Errorf("%d %s, want %s", got.status, got.body, want)
			}
		}
	}
}

func TestInfluxTokens(t *testing.T) {
	d := open(t)
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	f := func(authorization string, status int) {
		t.Helper()
		for _, path := range []string{"/write?db=alpha", "/api/v2/write?bucket=alpha"} {
			if got := d.send(t, "POST", path, "", "Authorization", authorization); got.status != status {
				t.Errorf("%.12q: %s: %d %s", authorization, path, got.status, got.body)
			}
		}
	}
	good := d.token("api")
	f("Token "+good, 204)
	f("token "+good, 204)
	f("Token   "+good, 204)
	f("Bearer "+good, 204)
	f(basic("telegraf", good), 204)
	f("Token", 401)
	f("Token ", 401)
	f("Token "+good+"x", 401)
	f("Token Bearer "+good, 401)
	f(basic(good, ""), 401)
	f(basic("telegraf", "secret"), 401)
	f("Basic "+good, 401)
	f("Digest "+good, 401)
	if got := d.send(t, "POST", "/api/write", "", "Authorization", "Token "+good); got.status != 401 {
		t.Errorf("the scheme Token on /api/write: %d, want 401", got.status)
	}
	if strings.Contains(d.log.String(), good) || strings.Contains(d.audit.String(), good) {
		t.Error("a log contains a token")
	}
}

// TestInfluxSeveralTokens: two credentials that differ are refused, whatever their schemes and order:
// a proxy that checks one of them must not be passed by the other.
func TestInfluxSeveralTokens(t *testing.T) {
	d := open(t)
	good, other := d.token("api"), d.token("user")
	basic := func(password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("telegraf:"+password))
	}
	f := func(status int, authorization ...string) {
		t.Helper()
		for _, path := range []string{"/write?db=alpha", "/api/v2/write?bucket=alpha", "/query?q=CREATE+DATABASE+alpha"} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", d.URL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header["Authorization"] = authorization
			resp, err := d.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			want := status
			if got := readReply(t, resp); status == 204 && strings.HasPrefix(path, "/query") && got.status == 200 {
				continue
			} else if got.status != want {
				t.Errorf("%s: %d, want %d: %s", path, got.status, want, got.body)
			}
		}
	}
	f(204, basic(good), basic(good))
	f(204, basic(good), "Bearer "+good)
	f(204, "Token "+good, basic(good))
	for _, second := range []string{basic(other), "Token " + other, "Bearer " + other, "Digest " + good, "Basic !", basic("")} {
		status := 401
		if second == basic("") {
			status = 204 // an empty token counts as none
		}
		f(status, basic(good), second)
		f(status, second, basic(good))
		f(status, "Bearer "+good, second)
	}
}

// The restriction of a principal to clusters applies to these paths, too.
func TestInfluxRespectsClusters(t *testing.T) {
	d := open(t, func(o *rest.Options) {
		o.Authenticator = fixedAuthenticator{principal: &auth.Principal{
			Issuer: "test", Subject: "tester", Roles: auth.Admin, Clusters: []string{"beta"}, Expires: time.Unix(now+3600, 0),
		}}
	})
	got := d.send(t, "POST", "/write?db=alpha", "mem,host=t1 used=1\nmem,host=t1,cluster=beta used=1")
	if got.status != 400 || !strings.Contains(got.body, "line 1: not permitted on this cluster") || strings.Contains(got.body, "line 2") {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// InfluxDB's own client writes points unchanged and recognizes our errors as InfluxDB's.
func TestInfluxClient(t *testing.T) {
	d := open(t)
	f := func(token string, precision time.Duration, points ...*write.Point) error {
		o := influxdb2.DefaultOptions().SetPrecision(precision).SetUseGZip(true).SetHTTPClient(d.Client())
		client := influxdb2.NewClientWithOptions(d.URL, token, o)
		defer client.Close()
		return client.WriteAPIBlocking("our org", "alpha").WritePoint(t.Context(), points...)
	}
	at := time.Unix(base, 0)
	tags := map[string]string{"host": influxHost, "cpu": "cpu-total"}
	for _, precision := range []time.Duration{time.Nanosecond, time.Microsecond, time.Millisecond, time.Second} {
		value := float64(precision)
		err := f(d.token("api"), precision,
			influxdb2.NewPoint("mem", tags, map[string]any{"used": value, "text": "a \"b\"", "ok": true}, at),
			influxdb2.NewPoint("cpu", tags, map[string]any{"load": 0.25, "power": uint64(7), "other": 1}, at))
		if err != nil {
			t.Fatal(err)
		}
		if got := d.last(t, influxHost, "mem_used"); got != fmt.Sprint(value) {
			t.Errorf("%v: mem_used is %s", precision, got)
		}
	}
	for metric, want := range map[string]string{"cpu_load": "0.25", "cpu_power": "7"} {
		if got := d.last(t, influxHost, metric); got != want {
			t.Errorf("%s is %s, want %s", metric, got, want)
		}
	}
	checkError := func(err error, status int, code, message string) {
		t.Helper()
		e, ok := errors.AsType[*influxhttp.Error](err)
		if !ok || e.StatusCode != status || e.Code != code || !strings.Contains(e.Message, message) {
			t.Errorf("the client reports %v, want %d %s: %s", err, status, code, message)
		}
	}
	point := influxdb2.NewPoint("mem", tags, map[string]any{"used": 1}, time.Unix(1, 0))
	checkError(f(d.token("api"), time.Second, point), 400, "invalid", "partial write: 1 line or field rejected, 0 samples stored; line 1: the timestamp is older")
	checkError(f(d.token("user"), time.Second, point), 403, "forbidden", "the token's roles do not permit this")
	checkError(f("garbage", time.Second, point), 401, "unauthorized", "a valid bearer token is required")
}

// faultyIngester returns a fixed report and error.
type faultyIngester struct {
	err    error
	report ingest.Report
}

func (b faultyIngester) Stream(context.Context, ingest.Source, io.Reader) (ingest.Report, error) {
	return b.report, b.err
}

func (b faultyIngester) Points(context.Context, ingest.Source, ingest.Points, int) (ingest.Report, error) {
	return b.report, b.err
}

// The requests are what Telegraf's outputs send for its inputs system, mem, net and disk, header by
// header. The samples get the metrics' names of the configuration, directly or by an alias, and the
// times of the lines.
func TestTelegraf(t *testing.T) {
	const body = "system,host=t1 load1=0.42,n_cpus=8i,n_users=0i 1700000400000000000\n" +
		"system,host=t1 uptime_format=\" 1:02\" 1700000400000000000\n" +
		"mem,host=t1 used=2048i,used_percent=3.125,available=5u 1700000400000000000\n" +
		"disk,device=sda1,fstype=ext4,host=t1,mode=rw,path=/ total=1i,used_percent=1.5 1700000400000000000\n" +
		"net,host=t1,interface=eth0 bytes_recv=100i,bytes_sent=1i 1700000400000000000\n" +
		"net,host=t1,interface=eth\\ 1 bytes_recv=200i,bytes_sent=2i 1700000400000000000\n" +
		"system,host=t1 load1=0.5,n_cpus=8i,n_users=0i 1700000460000000000\n"
	f := func(name, path, authorization string, compressed bool) {
		t.Run(name, func(t *testing.T) {
			d := open(t, func(o *rest.Options) {
				s := o.Store.(*memstore.Store)
				o.Ingester = ingest.New(ingest.Options{
					Store: s, Writer: storage{s}, Now: clock,
					Aliases:   map[string]string{"system_load1": "cpu_load", "net_bytes_recv": "file_bw"},
					ExtraTags: map[string][]string{"file_bw": {"interface"}},
				})
			})
			text, headers := body, []string{
				"Authorization", strings.ReplaceAll(authorization, "TOKEN", d.token("api")),
				"Content-Type", "text/plain; charset=utf-8", "User-Agent", "Telegraf/1.37.2 Go/1.25.5",
			}
			if compressed {
				text, headers = gzipped(body), append(headers, "Content-Encoding", "gzip")
			}
			if got := d.sendBody(t, path, text, true, headers...); got.status != 204 || got.body != "" {
				t.Fatalf("%d %s", got.status, got.body)
			}
			got := d.send(t, "POST", "/api/query", atBase(`{"cluster": "alpha", "from": {0}, "to": {120}, "queries": [
				{"metric": "cpu_load", "host": "t1"}, {"metric": "mem_used", "host": "t1"}, {"metric": "file_bw", "host": "t1"},
				{"metric": "file_bw", "host": "t1", "type": "node", "subtype": "interface", "subtype-ids": ["eth 1"]}
			]}`)).answer(t)
			want := []map[int64]float64{
				{base: 0.42, base + 60: 0.5}, {base: 2048}, {base: 300}, {base: 200},
			}
			for i, w := range want {
				if len(got.Results[i]) != 1 || !maps.Equal(got.Results[i][0].ByTime(), w) {
					t.Errorf("query %d: %v, want %v", i, got.Results[i], w)
				}
			}
		})
	}
	f("outputs.influxdb_v2", "/api/v2/write?bucket=alpha&org=hpc", "Token TOKEN", true)
	f("outputs.influxdb_v2, plain", "/api/v2/write?bucket=alpha&org=", "Token TOKEN", false)
	f("outputs.influxdb with a header", "/write?consistency=any&db=alpha", "Bearer TOKEN", true)
	f("outputs.influxdb", "/write?db=alpha&rp=autogen", "Token TOKEN", false)
	d := open(t)
	if got := d.send(t, "POST", "/query", "q=CREATE+DATABASE+%22alpha%22", "Content-Type", "application/x-www-form-urlencoded"); got.status != 200 {
		t.Errorf("without skip_database_creation: %d, which Telegraf warns of", got.status)
	}
}
