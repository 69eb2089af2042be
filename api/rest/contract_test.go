package rest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/klauspost/compress/gzip"
)

// contract is the description of the API, to hold requests and answers against.
type contract struct {
	doc    *openapi3.T
	router routers.Router
}

var loadContract = sync.OnceValues(func() (*contract, error) {
	text, err := os.ReadFile("openapi.json")
	if err != nil {
		return nil, err
	}
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, err
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, err
	}
	router, err := gorillamux.NewRouter(doc)
	return &contract{doc, router}, err
})

func theContract(t testing.TB) *contract {
	t.Helper()
	c, err := loadContract()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// holding is a transport that holds all that goes through it against the
// contract. It fails the test where an answer is not as described, and where a
// request is answered well that should not be.
type holding struct {
	t        testing.TB
	contract *contract
	next     http.RoundTripper
}

// undescribed is for what a server with other options answers.
func (d *door) undescribed() { d.Client().Transport = d.Client().Transport.(holding).next }

func (h holding) CloseIdleConnections() {
	h.next.(interface{ CloseIdleConnections() }).CloseIdleConnections()
}

func (h holding) RoundTrip(req *http.Request) (*http.Response, error) {
	var asked []byte
	if req.Body != nil {
		var err error
		if asked, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
		req = req.Clone(req.Context())
		req.Body = io.NopCloser(bytes.NewReader(asked))
	}
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &listening{ReadCloser: resp.Body, heard: func(told []byte) {
		if err := h.contract.check(req, asked, resp, told); err != nil {
			h.t.Errorf("%s %s: %d: not as described: %v\nasked: %.300q\ntold: %.300q", req.Method, req.URL.Path, resp.StatusCode, err, asked, told)
		}
	}}
	return resp, nil
}

// listening is a body that calls heard with all of it when it is read to its end,
// and not at all if it breaks off.
type listening struct {
	io.ReadCloser
	all   []byte
	heard func([]byte)
}

func (l *listening) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	l.all = append(l.all, p[:n]...)
	if errors.Is(err, io.EOF) && l.heard != nil {
		l.heard(l.all)
		l.heard = nil
	}
	return n, err
}

// check returns what of a request or its answer is not as described.
func (c *contract) check(req *http.Request, asked []byte, resp *http.Response, told []byte) error {
	req = req.Clone(req.Context())
	req.URL.Path = strings.TrimSuffix(req.URL.Path, "/")
	if req.Method == http.MethodHead {
		req.Method = http.MethodGet
		if len(told) > 0 {
			return errors.New("HEAD has a body")
		}
	}
	o := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true}
	route, params, err := c.router.FindRoute(req)
	if err != nil {
		if resp.Request.Method == http.MethodHead {
			return nil
		}
		return c.checkUnknown(resp, told)
	}
	c.describe(req, route, asked)
	input := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: o}
	if resp.StatusCode < 400 && req.Header.Get("Content-Encoding") == "" {
		if err := openapi3filter.ValidateRequest(req.Context(), input); err != nil {
			return err
		}
	}
	if resp.Request.Method == http.MethodHead {
		return nil
	}
	if resp.Header.Get("Content-Encoding") == "gzip" {
		r, err := gzip.NewReader(bytes.NewReader(told))
		if err != nil {
			return err
		}
		if told, err = io.ReadAll(r); err != nil {
			return err
		}
	}
	if resp.Header.Get("X-Request-Id") == "" {
		return errors.New("no X-Request-Id")
	}
	if described := route.Operation.Responses.Status(resp.StatusCode); described != nil && len(described.Value.Content) == 0 && len(told) > 0 {
		return errors.New("a body where none is described")
	}
	return openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(told)), Options: o,
	})
}

// describe makes a request one that can be looked at: its body anew, and with
// the type that it is taken for.
func (c *contract) describe(req *http.Request, route *routers.Route, asked []byte) {
	req.Body = http.NoBody
	if len(asked) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(asked))
	}
	req.ContentLength = int64(len(asked))
	if body := route.Operation.RequestBody; body != nil {
		for contentType := range body.Value.Content {
			req.Header.Set("Content-Type", contentType)
		}
	}
}

// checkUnknown is for paths and methods that are not described.
func (c *contract) checkUnknown(resp *http.Response, told []byte) error {
	if !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable}, resp.StatusCode) {
		return errors.New("the path or the method is not described")
	}
	if resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
		return errors.New("no header Allow")
	}
	var v any
	if err := json.Unmarshal(told, &v); err != nil {
		return err
	}
	schemas := c.doc.Components.Schemas
	err := schemas["Error"].Value.VisitJSON(v)
	if err != nil && (schemas["Influx1Error"].Value.VisitJSON(v) == nil || schemas["Influx2Error"].Value.VisitJSON(v) == nil) {
		return nil
	}
	return err
}
