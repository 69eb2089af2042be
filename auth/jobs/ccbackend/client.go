// Package ccbackend reads from cc-backend which jobs run where, and whose they are. It uses
// cc-backend's REST API with a token of role api.
//
// It knows no store. Responses are checked and their size is limited; an incomplete response is an
// error.
package ccbackend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/ringstore/ringstore/auth/ticker"
	"github.com/ringstore/ringstore/configs/smallfile"
)

const (
	requestTimeout   = 15 * time.Second // includes reading the response
	maxResponseBytes = 32 << 20         // for comparison, 20,000 nodes take half a megabyte
)

// Client is a client of one cc-backend. Its methods may be called by many goroutines.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
}

// NewClient returns a client for the cc-backend at an http or https URL. It
// does not connect.
func NewClient(baseURL, token string) (*Client, error) {
	base, err := url.Parse(baseURL)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, errors.New("ccbackend: expected an absolute http or https URL") // the URL is not shown: it may hold a password
	}
	if token == "" {
		return nil, errors.New("ccbackend: the token is empty")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	return &Client{base: base, token: token, http: &http.Client{
		Transport: transport,
		Timeout:   requestTimeout,
		// A redirect would send the token to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UsedNodes returns the hosts, by cluster, of the running jobs that began before a time
// (GET /api/jobs/used_nodes).
func (c *Client) UsedNodes(ctx context.Context, before time.Time) (map[string][]string, error) {
	var response struct {
		UsedNodes json.RawMessage `json:"usedNodes"`
	}
	query := url.Values{"ts": {strconv.FormatInt(before.Unix(), 10)}}
	if err := c.get(ctx, "api/jobs/used_nodes", query, &response); err != nil {
		return nil, fmt.Errorf("used nodes: %w", err)
	}
	if response.UsedNodes == nil {
		return nil, errors.New("used nodes: the response has no usedNodes")
	}
	var nodes map[string][]string
	if err := json.Unmarshal(response.UsedNodes, &nodes); err != nil {
		return nil, fmt.Errorf("used nodes: usedNodes: %w", err)
	}
	return nodes, nil
}

// get sends a GET request and decodes the response, which must be one JSON value. Its errors show
// no part of the response.
func (c *Client) get(ctx context.Context, path string, query url.Values, into any) error {
	u := c.base.JoinPath(path)
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			return fmt.Errorf("%s: %w", c.base.JoinPath(path).Redacted(), e.Err) // without the query
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("expected status 200, got %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := smallfile.ReadAll(resp.Body, maxResponseBytes)
	if err != nil {
		return fmt.Errorf("reading the response: %w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("decoding the response: %w", err)
	}
	return nil
}

// repeat calls f at once and then at each interval until ctx ends. It logs a failure if its
// text differs from the previous one, and the first success after a failure.
func repeat(ctx context.Context, interval time.Duration, log *slog.Logger, f func(context.Context) error, failure, success string) {
	lastReason := ""
	for range ticker.FromNow(ctx, interval) {
		err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && reason(err) != lastReason:
			lastReason = reason(err)
			log.Warn(failure, "error", err)
		case err == nil && lastReason != "":
			lastReason = ""
			log.Info(success)
		}
	}
}

// reason returns the text of an error without what may change from poll to poll: times, ports,
// numbers of jobs.
func reason(err error) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsDigit(r) {
			return -1
		}
		return r
	}, err.Error())
}
