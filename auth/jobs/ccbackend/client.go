// Package ccbackend asks cc-backend what only the batch system knows: where jobs
// run, and whose they are. It speaks cc-backend's REST API with a token of role api.
//
// It knows nothing of the store and of who asks whom for what. What it hears is
// checked and bounded; what it cannot hear it does not make up.
package ccbackend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ringstore/ringstore/auth/internal/ticks"
)

const (
	askTime  = 15 * time.Second // for one question, its answer included
	mostRead = 32 << 20         // bytes of an answer: 20,000 nodes are half a megabyte
)

// Client asks one cc-backend. Its methods may be called by many goroutines.
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
		return nil, errors.New("ccbackend: not an absolute URL of http or https") // not shown: it may carry a password
	}
	if token == "" {
		return nil, errors.New("ccbackend: no token")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxResponseHeaderBytes = 64 << 10
	return &Client{base: base, token: token, http: &http.Client{
		Transport: transport,
		Timeout:   askTime,
		// The token is for this server and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// Close gives the connections back that are idle.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// UsedNodes returns the hosts, by cluster, of the running jobs that began before
// a moment (GET /api/jobs/used_nodes).
func (c *Client) UsedNodes(ctx context.Context, before time.Time) (map[string][]string, error) {
	var answer struct {
		UsedNodes json.RawMessage `json:"usedNodes"`
	}
	query := url.Values{"ts": {strconv.FormatInt(before.Unix(), 10)}}
	if err := c.get(ctx, "api/jobs/used_nodes", query, &answer); err != nil {
		return nil, fmt.Errorf("used nodes: %w", err)
	}
	if answer.UsedNodes == nil {
		return nil, errors.New("used nodes: the answer has no usedNodes")
	}
	var nodes map[string][]string
	if err := json.Unmarshal(answer.UsedNodes, &nodes); err != nil {
		return nil, fmt.Errorf("used nodes: the answer's usedNodes: %w", err)
	}
	return nodes, nil
}

// get asks for a path and decodes the answer, which must be one JSON value. Its
// errors show nothing of the answer.
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
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostRead+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer: %w", err)
	case len(body) > mostRead:
		return fmt.Errorf("the answer is longer than %d bytes", mostRead)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the answer: %w", err)
	}
	return nil
}

// repeat calls f at once and then at each interval until ctx ends. It logs a failure once per reason,
// and the next success.
func repeat(ctx context.Context, interval time.Duration, log *slog.Logger, f func(context.Context) error, failure, success string) {
	lastReason := ""
	for range ticks.Every(ctx, interval) {
		err := f(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && err.Error() != lastReason:
			lastReason = err.Error()
			log.Warn(failure, "error", err)
		case err == nil && lastReason != "":
			lastReason = ""
			log.Info(success)
		}
	}
}
