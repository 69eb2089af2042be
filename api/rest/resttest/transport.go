package resttest

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// maxBody is the maximum size in bytes of a body that is checked. For a response with a larger
// body, only status and header are checked.
const maxBody = 1 << 20

// Transport returns a RoundTripper that forwards to next and fails the test if a response differs
// from the description, or if an undescribed request succeeds. Responses are not delayed: each is
// checked when the client has read its end. If the client closes the body before, only status and
// header are checked. The body of a streamed request is not checked.
func (c *Contract) Transport(t testing.TB, next http.RoundTripper) http.RoundTripper {
	return transport{t, c, next}
}

// Bare returns the RoundTripper below a [Contract.Transport]. It is for responses that the contract
// does not describe.
func Bare(t http.RoundTripper) http.RoundTripper { return t.(transport).next }

type transport struct {
	t        testing.TB
	contract *Contract
	next     http.RoundTripper
}

func (tr transport) CloseIdleConnections() {
	if next, ok := tr.next.(idleCloser); ok {
		next.CloseIdleConnections()
	}
}

func (tr transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := tr.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	tr.contract.checkAtEnd(tr.t, req, func() (text, error) { return bodyOf(req) }, resp)
	return resp, nil
}

// checkAtEnd checks a response when its body has been read or closed. sent returns the body of the
// request.
func (c *Contract) checkAtEnd(t testing.TB, req *http.Request, sent func() (text, error), resp *http.Response) {
	resp.Body = &recordingBody{ReadCloser: resp.Body, end: func(received text) {
		sent, err := sent()
		if err != nil {
			t.Errorf("%s %s: the request: %v", req.Method, req.URL.Path, err)
			return
		}
		c.report(t, req, sent, resp, received)
	}}
}

// bodyOf returns the body that was sent, if it can be read again.
func bodyOf(req *http.Request) (text, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return text{whole: true}, nil
	case req.GetBody == nil || req.ContentLength > maxBody:
		return text{}, nil
	}
	again, err := req.GetBody()
	if err != nil {
		return text{}, err
	}
	defer again.Close()
	body, err := io.ReadAll(again)
	return text{body, true}, err
}

// recordingBody passes what was read to end, once, at the end of the body or when it is closed.
type recordingBody struct {
	io.ReadCloser
	read    []byte
	tooLong bool // then read is nil
	end     func(text)
}

func (b *recordingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.tooLong = b.tooLong || len(b.read)+n > maxBody; b.tooLong {
		b.read = nil
	} else {
		b.read = append(b.read, p[:n]...)
	}
	if errors.Is(err, io.EOF) {
		b.finish(text{b.read, !b.tooLong})
	}
	return n, err
}

func (b *recordingBody) Close() error {
	b.finish(text{})
	return b.ReadCloser.Close()
}

func (b *recordingBody) finish(received text) {
	if b.end != nil {
		b.end(received)
		b.end = nil
	}
}

// report checks a response and fails the test if it is not as described.
func (c *Contract) report(t testing.TB, req *http.Request, sent text, resp *http.Response, received text) {
	t.Helper()
	if err := c.check(req, sent, resp, received); err != nil {
		t.Errorf("%s %s: %d: not as described: %v\nsent: %.300q\nreceived: %.300q", req.Method, req.URL.Path, resp.StatusCode, err, sent.body, received.body)
	}
}

// Serve runs a handler on a request and checks the response.
func (c *Contract) Serve(t testing.TB, h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	sent, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	req.Body = io.NopCloser(bytes.NewReader(sent))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	c.report(t, req, text{sent, true}, w.Result(), text{w.Body.Bytes(), w.Body.Len() <= maxBody})
	return w
}

// ReadResponse is [http.ReadResponse] for a request that the test wrote to the connection itself.
// req describes that request, without its body. The response is checked when it has been read.
func (c *Contract) ReadResponse(t testing.TB, r io.Reader, req *http.Request) (*http.Response, error) {
	resp, err := http.ReadResponse(bufio.NewReader(r), req)
	if err != nil {
		return nil, err
	}
	unknown := func() (text, error) { return text{}, nil }
	c.checkAtEnd(t, req, unknown, resp)
	return resp, nil
}

// Suite runs all tests of a package. It fails if all tests ran and no response was checked against
// the contract in full.
type Suite struct {
	*testing.M
	Contract *Contract
}

func (s Suite) Run() int {
	code := s.M.Run()
	whole, heads := s.Contract.whole.Load(), s.Contract.heads.Load()
	if testing.Verbose() {
		fmt.Printf("responses checked against the API's description: %d in full, %d by status and header\n", whole, heads)
	}
	if code == 0 && whole == 0 && allTestsRun() {
		fmt.Fprintln(os.Stderr, "no response was checked against the API's description in full")
		return 1
	}
	return code
}

// allTestsRun reports whether no flag selects tests.
func allTestsRun() bool {
	for _, choice := range []string{"run", "skip", "list", "fuzz"} {
		if flag.Lookup("test."+choice).Value.String() != "" {
			return false
		}
	}
	return true
}

// idleCloser is what [http.Client.CloseIdleConnections] expects of a transport.
type idleCloser interface{ CloseIdleConnections() }
