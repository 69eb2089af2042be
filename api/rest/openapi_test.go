package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth/jobs"
)

// The description lists exactly the routes of the handler, with their methods and whether they need
// a token.
func TestEveryRouteIsDescribed(t *testing.T) {
	doc := contract().Document
	described := make(map[string]string)
	for path, item := range doc.Paths.Map() {
		var methods []string
		for method, op := range item.Operations() {
			methods = append(methods, method)
			if method == http.MethodGet && item.Post == nil {
				methods = append(methods, http.MethodHead) // GET implies HEAD, so it is not described
			}
			if op.Security != nil && len(*op.Security) == 0 {
				methods = append(methods, "open")
			}
		}
		slices.Sort(methods)
		described[path] = strings.Join(methods, " ")
	}
	routes := make(map[string]string)
	for _, r := range open(t).Config.Handler.(*rest.Handler).Routes() {
		methods := slices.Clone(r.Methods)
		if r.Open {
			methods = append(methods, "open")
		}
		slices.Sort(methods)
		path, _ := strings.CutPrefix(r.Path, "/prometheus") // the same API below a prefix
		if known, ok := routes[path]; ok && known != strings.Join(methods, " ") {
			t.Errorf("%s: served for %q and for %q", path, known, strings.Join(methods, " "))
		}
		routes[path] = strings.Join(methods, " ")
		if r.Below {
			routes[r.Path+"/{profile}"] = routes[r.Path]
		}
	}
	for path, methods := range routes {
		if described[path] != methods {
			t.Errorf("%s: described for %q, served for %q", path, described[path], methods)
		}
	}
	for path := range described {
		if routes[path] == "" {
			t.Errorf("%s is described but not served", path)
		}
	}
}

// example returns the example of a media type, which must have one.
func example(t *testing.T, where string, content openapi3.Content) (contentType string, v any) {
	t.Helper()
	for contentType, m := range content {
		if m.Example == nil {
			t.Errorf("%s: no example", where)
		}
		return contentType, m.Example
	}
	return "", nil
}

// operations returns the operations of the document. Writes come first, so that the queries find
// their data.
func operations(doc *openapi3.T) (all []operation) {
	rank := func(path string) int { return 1 - strings.Count(path, "write") }
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			all = append(all, operation{path, method, op})
		}
	}
	slices.SortFunc(all, func(a, b operation) int {
		if r := rank(a.path) - rank(b.path); r != 0 {
			return r
		}
		return strings.Compare(a.path+a.method, b.path+b.method)
	})
	return all
}

type operation struct {
	path, method string
	*openapi3.Operation
}

// alwaysFails reports whether no success is described.
func (o operation) alwaysFails() bool {
	for status := range o.Responses.Map() {
		if status < "300" {
			return false
		}
	}
	return true
}

// request returns the target and the body that the examples describe.
func (o operation) request(t *testing.T) (target, body string) {
	t.Helper()
	target = o.path
	query := make(url.Values)
	for _, p := range o.Parameters {
		switch {
		case p.Value.Example == nil:
		case p.Value.In == "path":
			target = strings.ReplaceAll(target, "{"+p.Value.Name+"}", fmt.Sprint(p.Value.Example))
		default:
			text, err := json.Marshal(p.Value.Example) // without an exponent, unlike fmt
			if err != nil {
				t.Fatal(err)
			}
			query.Set(p.Value.Name, strings.Trim(string(text), `"`))
		}
	}
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	if o.RequestBody != nil && o.path != "/debug/pprof/symbol" {
		_, v := example(t, o.method+" "+o.path, o.RequestBody.Value.Content)
		body, _ = v.(string)
		if body == "" {
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			body = string(text)
		}
	}
	return target, body
}

// Each example request succeeds. Its response is the example response where that does not depend on
// the server's state.
func TestExamplesOfTheDescription(t *testing.T) {
	ix := jobs.New(jobs.Options{Keep: 72 * time.Hour, Now: clock})
	known := jobs.Job{ID: 4711, Cluster: "alpha", User: "alice", Project: "p1", Start: base, End: base + 120, Nodes: []jobs.Node{{Host: "n1"}, {Host: "n2"}}}
	if err := ix.Apply(jobs.Report{Job: known}); err != nil {
		t.Fatal(err)
	}
	d := open(t, func(o *rest.Options) { o.Jobs = ix })
	exact := regexp.MustCompile(`^/api/(query|healthcheck|debug|free|jobs)$|^/-/`)
	for _, o := range operations(contract().Document) {
		name := o.method + " " + o.path
		target, body := o.request(t)
		got := d.send(t, o.method, target, body)
		described := o.Responses.Status(got.status)
		if o.alwaysFails() && described != nil && got.status >= 400 {
			continue
		}
		if described == nil || got.status >= 300 {
			t.Errorf("%s: %d %.300s", name, got.status, got.body)
			continue
		}
		if !exact.MatchString(o.path) {
			continue
		}
		contentType, want := example(t, name, described.Value.Content)
		var answered any = got.body
		if contentType == "application/json" {
			if err := json.Unmarshal([]byte(got.body), &answered); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(answered, want) {
			t.Errorf("%s:\n%v\nthe example is\n%v", name, answered, want)
		}
	}
	for metric, want := range map[string]string{"cpu_load": "0.25", "cpu_power": "7"} {
		if got := d.last(t, "n3", metric); got != want {
			t.Errorf("after the example for InfluxDB: %s is %s, want %s", metric, got, want)
		}
	}
}

func TestTheDocumentIsServed(t *testing.T) {
	d := open(t)
	got := d.send(t, "GET", "/api/openapi.json", "")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(got.body))
	if err != nil || len(doc.Paths.Map()) != len(contract().Document.Paths.Map()) {
		t.Errorf("%d, %v: %.200s", got.status, err, got.body)
	}
	if got := d.send(t, "GET", "/swagger/", ""); got.status != 404 {
		t.Errorf("the user interface without the option: %d, want 404", got.status)
	}
}

// The user interface works without a token and loads nothing from elsewhere.
func TestSwaggerUI(t *testing.T) {
	d := open(t, func(o *rest.Options) { o.SwaggerUI = true })
	d.skipContract()
	get := func(path string) string {
		t.Helper()
		got := d.send(t, "GET", path, "", "Authorization", "")
		if got.status != 200 || got.body == "" {
			t.Fatalf("%s: %d %.200s", path, got.status, got.body)
		}
		return got.body
	}
	page := get("/swagger/")
	if get("/swagger") != page {
		t.Error("/swagger and /swagger/ return different pages")
	}
	assets := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if len(assets) < 3 {
		t.Errorf("%d assets in %s", len(assets), page)
	}
	for _, a := range assets {
		if !strings.HasPrefix(a[1], "/swagger/") {
			t.Errorf("the page loads %s", a[1])
			continue
		}
		get(a[1])
	}
	if !strings.Contains(page, `"swaggerJsonUrl":"/swagger/openapi.json"`) || !regexp.MustCompile(`validatorUrl: *null`).MatchString(page) {
		t.Errorf("%s", page)
	}
	if !json.Valid([]byte(get("/swagger/openapi.json"))) {
		t.Error("the copy of the document is not JSON")
	}
	if got := d.send(t, "GET", "/api/openapi.json", "", "Authorization", ""); got.status != 401 {
		t.Errorf("the document without a token: %d, want 401", got.status)
	}
	if got := d.send(t, "GET", "/swagger/nope", "", "Authorization", ""); got.status != 404 {
		t.Errorf("a missing file: %d, want 404", got.status)
	}
}

func TestNullIsAnEmptyRequest(t *testing.T) {
	d := open(t)
	for path, want := range map[string]string{"/api/query": `{"results":[]}`, "/api/healthcheck": `{}`, "/api/free?to=1": "buffers freed: 0"} {
		if got := d.send(t, "POST", path, "null"); got.status != 200 || strings.TrimSpace(got.body) != want {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
}
