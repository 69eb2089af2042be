package resttest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/klauspost/compress/gzip"
)

// Contract checks requests and responses against the description of the API. It is safe for
// concurrent use.
type Contract struct {
	Document *openapi3.T
	router   routers.Router
	whole    atomic.Int64 // responses checked in full
	heads    atomic.Int64 // responses of which only status and header were checked
}

// ReadContract reads an OpenAPI document, which must be valid.
func ReadContract(file string) (*Contract, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := doc.Validate(loader.Context); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return &Contract{Document: doc, router: router}, nil
}

// text is the body of a request or a response.
type text struct {
	body  []byte
	whole bool // otherwise body is unknown
}

// check returns how a request or its response differs from the description. The request is checked
// only if the response is not an error.
func (c *Contract) check(req *http.Request, sent text, resp *http.Response, received text) error {
	head := req.Method == http.MethodHead
	if head && len(received.body) > 0 {
		return errors.New("HEAD has a body")
	}
	if resp.Header.Get("X-Request-Id") == "" && resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge { // net/http sends it itself
		return errors.New("no X-Request-Id")
	}
	received, err := received.gunzip(resp.Header)
	if err != nil {
		return err
	}
	if received.whole {
		c.whole.Add(1)
	} else {
		c.heads.Add(1)
	}
	described := req.Clone(req.Context())
	described.URL.Path = strings.TrimSuffix(req.URL.Path, "/")
	if head {
		described.Method = http.MethodGet
	}
	route, params, err := c.router.FindRoute(described)
	if err != nil || head && resp.StatusCode == http.StatusMethodNotAllowed {
		return c.checkUnknown(resp, received, head)
	}
	input := &openapi3filter.RequestValidationInput{Request: described, PathParams: params, Route: route, Options: options()}
	if resp.StatusCode < 400 {
		if err := checkRequest(input, sent); err != nil {
			return err
		}
	}
	return checkResponse(input, resp, received, head)
}

func options() *openapi3filter.Options {
	o := &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true, SkipSettingDefaults: true}
	o.WithCustomSchemaErrorFunc(func(err *openapi3.SchemaError) string { // shorter: without the schema
		return fmt.Sprintf("/%s: %s", strings.Join(err.JSONPointer(), "/"), err.Reason)
	})
	return o
}

// checkRequest checks a request, with its body restored and with the described content type. A body
// that is unknown or compressed is not checked.
func checkRequest(input *openapi3filter.RequestValidationInput, sent text) error {
	req := input.Request
	input.Options.ExcludeRequestBody = !sent.whole || req.Header.Get("Content-Encoding") != ""
	req.Body = http.NoBody
	if len(sent.body) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(sent.body))
	}
	req.ContentLength = int64(len(sent.body))
	if body := input.Route.Operation.RequestBody; body != nil {
		for contentType := range body.Value.Content {
			req.Header.Set("Content-Type", contentType)
		}
	}
	return openapi3filter.ValidateRequest(req.Context(), input)
}

func checkResponse(input *openapi3filter.RequestValidationInput, resp *http.Response, received text, head bool) error {
	o := options()
	o.ExcludeResponseBody = !received.whole || head
	if r := input.Route.Operation.Responses.Status(resp.StatusCode); r != nil {
		contentType := resp.Header.Get("Content-Type")
		switch content := r.Value.Content; {
		case len(content) == 0 && len(received.body) > 0:
			return errors.New("a body where none is described")
		case r.Value.Extensions["x-may-be-empty"] == true && contentType == "" && len(received.body) == 0:
			o.ExcludeResponseBody = true
		case len(content) > 0 && content.Get(contentType) == nil:
			return fmt.Errorf("Content-Type %q is not described", contentType)
		}
	}
	return openapi3filter.ValidateResponse(input.Request.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: resp.StatusCode, Header: resp.Header,
		Body: io.NopCloser(bytes.NewReader(received.body)), Options: o,
	})
}

// checkUnknown checks the response for a path or method that is not described.
func (c *Contract) checkUnknown(resp *http.Response, received text, head bool) error {
	if !slices.Contains([]int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusServiceUnavailable}, resp.StatusCode) {
		return errors.New("the path or the method is not described")
	}
	if resp.StatusCode == http.StatusMethodNotAllowed && resp.Header.Get("Allow") == "" {
		return errors.New("no header Allow")
	}
	if head || !received.whole {
		return nil
	}
	var v any
	if err := json.Unmarshal(received.body, &v); err != nil {
		return err
	}
	schemas := c.Document.Components.Schemas
	err := schemas["Error"].Value.VisitJSON(v)
	if err != nil && (schemas["Influx1Error"].Value.VisitJSON(v) == nil || schemas["Influx2Error"].Value.VisitJSON(v) == nil) {
		return nil
	}
	return err
}

// gunzip decompresses a text. The result is not whole if it exceeds maxBody.
func (t text) gunzip(h http.Header) (text, error) {
	if !t.whole || len(t.body) == 0 || h.Get("Content-Encoding") != "gzip" {
		return t, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(t.body))
	if err != nil {
		return text{}, err
	}
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	return text{body, len(body) <= maxBody}, err
}
