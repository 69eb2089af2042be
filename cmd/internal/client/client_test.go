package client

import (
	"bytes"
	"context"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// command is one of the commands.
type command interface {
	Flags(*flag.FlagSet)
	Check() error
	Run(ctx context.Context, operands []string, out, warnings io.Writer) error
}

// run runs a command with a token and the arguments after it.
func run(t *testing.T, c command, operands []string, args ...string) (out, warnings string, err error) {
	t.Helper()
	t.Setenv("TOKEN", "secret")
	f := flag.NewFlagSet("", flag.ContinueOnError)
	c.Flags(f)
	if err := f.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(); err != nil {
		return "", "", err
	}
	var o, w bytes.Buffer
	err = c.Run(t.Context(), operands, &o, &w)
	return o.String(), w.String(), err
}

// answering returns a server that answers every request, of which it checks the token.
func answering(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Authorization"); got != "Bearer secret" {
			t.Errorf("Authorization: %q", got)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

const matrix = `{"status":"success","data":{"resultType":"matrix","result":[
	{"metric":{"__name__":"ipc","cluster":"c","hostname":"h1","type":"hwthread","type_id":"0"},"values":[[1795300000,"0.5"],[1795300060.25,"NaN"],[1795300120,"1500"]]},
	{"metric":{"hostname":"h2\u001b[2J,"},"values":[[1795300000,"+Inf"]]}]},"warnings":["cut\u001b off"]}`

// TestFormats: the exact bytes of CSV and table; names cannot command the terminal.
func TestFormats(t *testing.T) {
	s := answering(t, http.StatusOK, matrix)
	f := func(format, want string) {
		t.Helper()
		out, warnings, err := run(t, &Query{}, []string{"x"}, "-server", s.URL, "-o", format)
		if err != nil || out != want || warnings != "warning: cut\ufffd off\n" {
			t.Errorf("%s: %v, %q\n%s\nwant\n%s", format, err, warnings, out, want)
		}
	}
	csv := "cluster,hostname,type,type_id,stype,stype_id,metric,timestamp,value\n" +
		"c,h1,hwthread,0,,,ipc,2026-11-21T22:26:40Z,0.5\n" +
		"c,h1,hwthread,0,,,ipc,2026-11-21T22:27:40.25Z,NaN\n" +
		"c,h1,hwthread,0,,,ipc,2026-11-21T22:28:40Z,1500\n" +
		",\"h2\x1b[2J,\",,,,,,2026-11-21T22:26:40Z,+Inf\n"
	f("csv", csv)
	f("", csv) // the output is no terminal
	f("table", "   last   min   avg    max  series\n"+
		"  1.5 k   0.5   750  1.5 k  ipc cluster=c hostname=h1 type=hwthread type_id=0\n"+
		"   +Inf  +Inf  +Inf   +Inf  hostname=h2\ufffd[2J,\n")
	out, _, err := run(t, &Query{}, []string{"x"}, "-server", s.URL, "-o", "plot")
	if err != nil || strings.Contains(out, "\x1b") {
		t.Errorf("plot: %v\n%q", err, out)
	}
}

// TestEmptyAnswers say what to do.
func TestEmptyAnswers(t *testing.T) {
	s := answering(t, http.StatusOK, `{"status":"success","data":{"resultType":"matrix","result":[]},"jobs":[]}`)
	for format, want := range map[string]string{"plot": "No data in the last 2h0m0s. ", "table": "No data", "csv": "cluster,hostname,", "json": `{"resultType"`} {
		if out, _, err := run(t, &Query{}, []string{"x"}, "-server", s.URL, "-since", "2h", "-o", format); err != nil || !strings.HasPrefix(out, want) {
			t.Errorf("%s: %v, %s", format, err, out)
		}
	}
	if out, _, err := run(t, &Jobs{}, nil, "-server", s.URL); err != nil || !strings.HasPrefix(out, "No jobs.") {
		t.Errorf("%v, %s", err, out)
	}
}

// TestPlot draws what is there: a gap is a gap, and the lowest of many series are only counted.
func TestPlot(t *testing.T) {
	from := time.Unix(1795300000, 0)
	f := func(width int, want []float64, values ...point) {
		t.Helper()
		got := onGrid(values, from, from.Add(5*time.Second), time.Second, width)
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v on %d columns: %v, want %v", values, width, got, want)
		}
	}
	at := func(second int64, v float64) point { return point{1795300000_000 + 1000*second, v} }
	none := math.NaN()
	f(6, []float64{1, none, none, none, none, 2}, at(0, 1), at(5, 2))
	f(3, []float64{1.5, none, 4}, at(0, 1), at(1, 2), at(5, 4), at(4, none), at(2, math.Inf(1)))
	f(6, []float64{none, none, none, none, none, none}, at(-1, 1), at(6, 1))
	var all []series
	for i := range 10 {
		all = append(all, series{map[string]string{"hostname": fmt.Sprint("h", i)}, []point{at(0, float64(i)), at(1, float64(i))}})
	}
	var out bytes.Buffer
	if err := plot(&out, all, from, from.Add(5*time.Second), time.Second); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "hostname=h1\n") || !strings.Contains(text, "hostname=h2\n") || !strings.Contains(text, "\n2 more series are not drawn; ") {
		t.Error(text)
	}
}

func TestShortNumbers(t *testing.T) {
	f := func(v float64, want string) {
		t.Helper()
		if got := short(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
	f(0, "0")
	f(1, "1")
	f(-999, "-999")
	f(999.6, "1 k")
	f(1234, "1.23 k")
	f(59.7e9, "59.7 G")
	f(0.5, "0.5")
	f(0.02, "20 m")
	f(2.5e-7, "0.25 µ")
	f(1e30, "1e+12 E")
	f(math.Inf(-1), "-Inf")
	f(math.NaN(), "-")
}

// TestErrors say what came, and what to do; none shows the token.
func TestErrors(t *testing.T) {
	f := func(want string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	ask := func(args ...string) error {
		t.Helper()
		_, _, err := run(t, &Jobs{}, nil, args...)
		return err
	}
	status := func(code int, body string) error {
		t.Helper()
		return ask("-server", answering(t, code, body).URL)
	}
	f(": 401: the token has expired; give a valid token with -token", status(401, `{"error":"the token has expired"}`))
	f(": 403: no job\ufffd source", status(403, `{"error":"no job\u001b source"}`))
	f(": 404: Not Found; is this the address of RingStore?", status(404, `<html>`))
	f(": 503: Service Unavailable", status(503, ""))
	f("expected an answer of RingStore: ", status(200, `<html>`))
	f("expected an answer of RingStore: ", status(200, `{"jobs":[`))
	f("expected a list of jobs: ", status(200, `{"jobs":{"a":1}}`))
	closed := httptest.NewServer(nil)
	closed.Close()
	f(": nothing listens there; name the server with -server URL", ask("-server", closed.URL))
	for _, bad := range []string{"127.0.0.1:8082", "ftp://h", "", "http://", "http://%zz"} {
		f("-server: expected a URL such as http://127.0.0.1:8082; got ", ask("-server", bad))
	}
	f("-o: expected one of ", ask("-o", "xml"))
	f("no token: set the environment variable NO_SUCH_VARIABLE, or name a file with -token FILE", ask("-token", "env:NO_SUCH_VARIABLE"))
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f("-token: "+empty+" is empty", ask("-token", empty))
	f("no such file", ask("-token", empty+"x"))
	f("expected certificates in PEM form", ask("-ca", empty))
}

// TestTokenStaysHere: a redirect does not take the token elsewhere.
func TestTokenStaysHere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("asked with %q", r.Header)
	}))
	defer elsewhere.Close()
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer s.Close()
	if _, _, err := run(t, &Jobs{}, nil, "-server", s.URL); err == nil || !strings.Contains(err.Error(), "which does not get the token") {
		t.Error(err)
	}
}

// TestCertificates are verified, unless -insecure says otherwise, which warns.
func TestCertificates(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"jobs":[]}`) }))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := run(t, &Jobs{}, nil, "-server", s.URL); err == nil || !strings.Contains(err.Error(), "the server's certificate cannot be verified: ") {
		t.Error(err)
	}
	if _, warnings, err := run(t, &Jobs{}, nil, "-server", s.URL, "-ca", ca); err != nil || warnings != "" {
		t.Error(err, warnings)
	}
	if _, warnings, err := run(t, &Jobs{}, nil, "-server", s.URL, "-insecure"); err != nil || !strings.HasPrefix(warnings, "warning: -insecure: ") {
		t.Error(err, warnings)
	}
	plain := strings.Replace(s.URL, "https:", "http:", 1)
	if _, _, err := run(t, &Jobs{}, nil, "-server", plain); err == nil || !strings.Contains(err.Error(), ": 400: ") {
		t.Error(err)
	}
	http := httptest.NewServer(nil)
	defer http.Close()
	if _, _, err := run(t, &Jobs{}, nil, "-server", strings.Replace(http.URL, "http:", "https:", 1)); err == nil || !strings.Contains(err.Error(), "write http:// in -server") {
		t.Error(err)
	}
}

// TestWarnsOfPlainHTTP: others on the network could read the token.
func TestWarnsOfPlainHTTP(t *testing.T) {
	for address, warned := range map[string]bool{"http://192.0.2.1": true, "http://127.0.0.1": false, "https://192.0.2.1": false} {
		t.Setenv("TOKEN", "secret")
		var warnings bytes.Buffer
		c := Connection{Server: address, Token: defaultToken}
		s, err := c.open(&warnings)
		if err != nil || strings.Contains(warnings.String(), "is not encrypted") != warned {
			t.Errorf("%s: %v, %s", address, err, warnings.String())
		}
		s.close()
	}
}

// TestTop: the busiest first, the job's silent hosts last, and devices in no row.
func TestTop(t *testing.T) {
	var selector string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/jobs":
			_, _ = io.WriteString(w, `{"jobs":[{"jobId":7,"cluster":"c","hosts":["h1","h.2","h3"]}]}`)
		case "/api/v1/label/__name__/values":
			_, _ = io.WriteString(w, `{"data":["cpu_load","ipc","node:ipc:avg","odd"]}`)
		case "/api/v1/query":
			selector = r.URL.Query().Get("query")
			_, _ = io.WriteString(w, `{"data":{"result":[
				{"metric":{"__name__":"cpu_load","hostname":"h1","type":"node"},"value":[1,"0.5"]},
				{"metric":{"__name__":"cpu_load","hostname":"h1","type":"hwthread","type_id":"1"},"value":[1,"99"]},
				{"metric":{"__name__":"cpu_load","hostname":"h1","type":"node","stype":"x"},"value":[1,"99"]},
				{"metric":{"__name__":"node:ipc:avg","hostname":"h1"},"value":[1,"2"]},
				{"metric":{"__name__":"cpu_load","hostname":"h.2","type":"node"},"value":[1,"8"]}]}}`)
		}
	}))
	defer s.Close()
	out, _, err := run(t, &Top{}, nil, "-server", s.URL, "-job", "7")
	_, table, _ := strings.Cut(out, "\n")
	const want = "  host  cpu_load  ipc\n   h.2         8    -\n    h1       0.5    2\n    h3         -    -\n"
	if err != nil || !strings.Contains(out, "hosts: 3, of job 7") || table != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
	if selector != `{__name__=~"cpu_load|node:ipc:avg",cluster="c",hostname=~"h1|h\\.2|h3"}` {
		t.Error(selector)
	}
	if _, _, err := run(t, &Top{}, nil, "-server", s.URL, "-job", "8"); err == nil || !strings.Contains(err.Error(), "you have no job 8") {
		t.Error(err)
	}
	if _, _, err := run(t, &Top{}, nil, "-server", s.URL, "-metrics", "x,y"); err == nil || !strings.Contains(err.Error(), `none of ["x" "y"]`) {
		t.Error(err)
	}
	if _, _, err := run(t, &Top{}, nil, "-interval", "1ms"); err == nil {
		t.Error("accepted")
	}
}
