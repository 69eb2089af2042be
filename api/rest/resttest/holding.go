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

// longest is the size in bytes of the longest body that is held against the
// contract; of a longer one, only what its status and header say.
const longest = 1 << 20

// Transport is next, with all that goes through it held against the contract. It
// fails the test where an answer is not as described, and where a request is answered
// well that should not be. Nothing is held up: answers are looked at when the reader
// comes to their end, without their bodies if he does not; and requests without
// theirs if these are streamed.
func (c *Contract) Transport(t testing.TB, next http.RoundTripper) http.RoundTripper {
	return holding{t, c, next}
}

// Bare returns what is next of a [Contract.Transport]: for answers that the contract is not
// about.
func Bare(t http.RoundTripper) http.RoundTripper { return t.(holding).next }

type holding struct {
	t        testing.TB
	contract *Contract
	next     http.RoundTripper
}

func (h holding) CloseIdleConnections() {
	if next, ok := h.next.(idleCloser); ok {
		next.CloseIdleConnections()
	}
}

func (h holding) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	asked := func() (text, error) { return bodyOf(req) }
	h.contract.listen(h.t, req, asked, resp)
	return resp, nil
}

// listen holds an answer when it has been read.
func (c *Contract) listen(t testing.TB, req *http.Request, asked func() (text, error), resp *http.Response) {
	resp.Body = &listening{ReadCloser: resp.Body, end: func(told text) {
		asked, err := asked()
		if err != nil {
			t.Errorf("%s %s: the request: %v", req.Method, req.URL.Path, err)
			return
		}
		c.hold(t, req, asked, resp, told)
	}}
}

// bodyOf returns the body that was sent, if it is one that can be read once more.
func bodyOf(req *http.Request) (text, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return text{whole: true}, nil
	case req.GetBody == nil || req.ContentLength > longest:
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

// listening is a body that says what was read of it when it ends or is closed.
type listening struct {
	io.ReadCloser
	heard []byte
	lost  bool // it is too long
	end   func(text)
}

func (l *listening) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	if l.lost = l.lost || len(l.heard)+n > longest; l.lost {
		l.heard = nil
	} else {
		l.heard = append(l.heard, p[:n]...)
	}
	if errors.Is(err, io.EOF) {
		l.say(text{l.heard, !l.lost})
	}
	return n, err
}

func (l *listening) Close() error {
	l.say(text{})
	return l.ReadCloser.Close()
}

func (l *listening) say(told text) {
	if l.end != nil {
		l.end(told)
		l.end = nil
	}
}

func (c *Contract) hold(t testing.TB, req *http.Request, asked text, resp *http.Response, told text) {
	t.Helper()
	if err := c.check(req, asked, resp, told); err != nil {
		t.Errorf("%s %s: %d: not as described: %v\nasked: %.300q\ntold: %.300q", req.Method, req.URL.Path, resp.StatusCode, err, asked.body, told.body)
	}
}

// Serve lets a handler answer, and holds that against the contract.
func (c *Contract) Serve(t testing.TB, h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	asked, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	req.Body = io.NopCloser(bytes.NewReader(asked))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	c.hold(t, req, text{asked, true}, w.Result(), text{w.Body.Bytes(), w.Body.Len() <= longest})
	return w
}

// ReadResponse is [http.ReadResponse] for who has written a request by himself. req says
// how, but for the body. The answer is held against the contract when it has been read.
func (c *Contract) ReadResponse(t testing.TB, r io.Reader, req *http.Request) (*http.Response, error) {
	resp, err := http.ReadResponse(bufio.NewReader(r), req)
	if err != nil {
		return nil, err
	}
	unknown := func() (text, error) { return text{}, nil }
	c.listen(t, req, unknown, resp)
	return resp, nil
}

// Suite is all tests of a package. It fails if all were run and no answer was held
// against the contract.
type Suite struct {
	*testing.M
	Contract *Contract
}

func (s Suite) Run() int {
	code := s.M.Run()
	whole, heads := s.Contract.whole.Load(), s.Contract.heads.Load()
	if testing.Verbose() {
		fmt.Printf("answers held against the API's description: %d, and %d by status and header\n", whole, heads)
	}
	if code == 0 && whole == 0 && everythingRuns() {
		fmt.Fprintln(os.Stderr, "no answer was held against the API's description")
		return 1
	}
	return code
}

func everythingRuns() bool {
	for _, choice := range []string{"run", "skip", "list", "fuzz"} {
		if flag.Lookup("test."+choice).Value.String() != "" {
			return false
		}
	}
	return true
}

// idleCloser is what [http.Client.CloseIdleConnections] expects of a transport.
type idleCloser interface{ CloseIdleConnections() }
