// Package client asks a server over HTTP, and shows its answers in a terminal: queries, jobs, and
// the hosts of a job or cluster as they change.
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/configs/secureurl"
	"github.com/ringstore/ringstore/configs/smallfile"
)

// Connection says which server is asked, and as whom.
type Connection struct {
	Server   string // URL
	Token    string // the name of a file, or env:VARIABLE
	CA       string // a file with certificates in PEM form; empty: those of the system
	Insecure bool   // do not verify the server's certificate
}

const (
	defaultServer = "http://127.0.0.1:8082"
	defaultToken  = "env:TOKEN"
	maxToken      = 64 << 10 // bytes
	maxAnswer     = 1 << 30  // bytes
	maxRefusal    = 64 << 10 // bytes of an error
)

func (c *Connection) flags(f *flag.FlagSet) {
	f.StringVar(&c.Server, "server", defaultServer, "`URL` of the server")
	f.StringVar(&c.Token, "token", defaultToken, "`file` with the token, or env:VARIABLE")
	f.StringVar(&c.CA, "ca", "", "`file` with the CA that signed the server's certificate, in PEM form (default those of the system)")
	f.BoolVar(&c.Insecure, "insecure", false, "do not verify the server's certificate; anyone on the network can then read the token")
}

// server is a server that is asked with a token.
type server struct {
	base  *url.URL
	token string
	http  *http.Client
}

// open prepares a connection. It warns where others can read the token.
func (c *Connection) open(warnings io.Writer) (*server, error) {
	base, err := url.Parse(c.Server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("-server: expected a URL such as %s; got %q", defaultServer, c.Server)
	}
	token, err := c.readToken()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{InsecureSkipVerify: c.Insecure, MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		pem, err := smallfile.ReadRegular(c.CA, 1<<20)
		if err != nil {
			return nil, fmt.Errorf("-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca: %s: expected certificates in PEM form", c.CA)
		}
	}
	switch {
	case base.Scheme == "https" && c.Insecure:
		fmt.Fprintln(warnings, "warning: -insecure: the server's certificate is not verified; anyone on the network can read the token")
	case !secureurl.IsSecure(base):
		fmt.Fprintf(warnings, "warning: %s is not encrypted: others on the network can read the token\n", base.Redacted())
	}
	return &server{base: base, token: token, http: &http.Client{
		Transport: &http.Transport{TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true},
		// The token is for this server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       3 * time.Minute,
	}}, nil
}

func (c *Connection) readToken() (string, error) {
	if name, ok := strings.CutPrefix(c.Token, "env:"); ok {
		token := strings.TrimSpace(os.Getenv(name))
		if token == "" {
			return "", fmt.Errorf("no token: set the environment variable %s, or name a file with -token FILE", name)
		}
		return token, nil
	}
	text, err := smallfile.ReadRegular(c.Token, maxToken)
	if err != nil {
		return "", fmt.Errorf("-token: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", fmt.Errorf("-token: %s is empty", c.Token)
	}
	return token, nil
}

func (s *server) close() { s.http.CloseIdleConnections() }

// get asks a path and decodes the answer, which is JSON, into result.
func (s *server) get(ctx context.Context, path string, query url.Values, result any) error {
	address := s.base.JoinPath(path)
	address.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	response, err := s.http.Do(r)
	if err != nil {
		return s.unreachable(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return s.refused(response)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(result); err != nil {
		return fmt.Errorf("%s: expected an answer of RingStore: %w", s.base.Redacted(), err)
	}
	return nil
}

// refused returns the error of an answer, with what to do.
func (s *server) refused(response *http.Response) error {
	var body struct {
		Error string `json:"error"`
	}
	text, _ := io.ReadAll(io.LimitReader(response.Body, maxRefusal)) // the status says enough
	_ = json.Unmarshal(text, &body)
	reason := printable(cmp.Or(body.Error, http.StatusText(response.StatusCode)))
	hint := ""
	switch response.StatusCode {
	case http.StatusUnauthorized:
		hint = "; give a valid token with -token"
	case http.StatusNotFound:
		hint = "; is this the address of RingStore?"
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		hint = fmt.Sprintf("; the server redirects to %q, which does not get the token", response.Header.Get("Location"))
	}
	return fmt.Errorf("%s: %d: %s%s", s.base.Redacted(), response.StatusCode, reason, hint)
}

// unreachable explains why there is no answer.
func (s *server) unreachable(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the query
	}
	at := s.base.Redacted()
	_, isCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case isCertificate:
		return fmt.Errorf("%s: the server's certificate cannot be verified: %w; name the CA that signed it with -ca FILE", at, err)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s: the server speaks HTTP, not HTTPS: write http:// in -server", at)
	case errors.Is(err, io.EOF) && s.base.Scheme == "https":
		return fmt.Errorf("%s: the connection was closed: if the server speaks HTTP, write http:// in -server", at)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s: nothing listens there; name the server with -server URL", at)
	}
	return fmt.Errorf("%s: cannot be reached: %w", at, err)
}

// printable replaces the characters that control a terminal: whoever may write chooses the names.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == '\u2028' || r == '\u2029' || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			return '\ufffd'
		}
		return r
	}, text)
}
