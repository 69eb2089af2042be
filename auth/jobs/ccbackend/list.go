package ccbackend

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"

	"github.com/ringstore/ringstore/auth/jobs"
)

const (
	pageJobs = 250     // jobs per page; with 1000 nodes each they fit into maxResponseBytes
	maxJobs  = 500_000 // of all pages together
)

// filter selects jobs in GET /api/jobs/.
type filter struct {
	running  bool  // only running jobs
	from, to int64 // Unix seconds of the start, inclusive; 0: no limit
}

func (q filter) values(page int) url.Values {
	v := url.Values{"items-per-page": {strconv.Itoa(pageJobs)}, "page": {strconv.Itoa(page)}}
	if q.running {
		v.Set("state", "running")
	}
	if q.to > 0 {
		v.Set("start-time", fmt.Sprintf("%d-%d", q.from, q.to))
	}
	return v
}

// list reads all pages and calls f for each job. It skips jobs that it cannot decode and returns
// how many these are.
//
// Pages shift when jobs begin or end in the meantime: a job may be on two of them, or on none.
func (c *Client) list(ctx context.Context, q filter, f func(*jobs.Wire)) (skipped int, err error) {
	seen := 0
	for page := 1; ; page++ {
		var response struct {
			Jobs  []json.RawMessage `json:"jobs"`
			Items int               `json:"items"` // per page, as the server understood the request
			Page  int               `json:"page"`
		}
		if err := c.get(ctx, "api/jobs/", q.values(page), &response); err != nil {
			return skipped, fmt.Errorf("jobs: page %d: %w", page, err)
		}
		switch {
		case response.Jobs == nil && response.Page == 0:
			return skipped, errors.New("jobs: the response has no jobs")
		case response.Page != page:
			return skipped, fmt.Errorf("jobs: expected page %d, got page %d", page, response.Page)
		}
		for _, text := range response.Jobs {
			var w jobs.Wire
			if json.Unmarshal(text, &w) != nil {
				skipped++
				continue
			}
			f(&w)
		}
		seen += len(response.Jobs)
		switch {
		case len(response.Jobs) == 0, len(response.Jobs) < response.Items && response.Items <= pageJobs:
			return skipped, nil
		case seen >= maxJobs:
			return skipped, fmt.Errorf("jobs: expected at most %d, got more", maxJobs)
		}
	}
}
