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
	pageJobs = 250     // on a page: small enough for mostRead with a thousand nodes each
	mostJobs = 500_000 // of an answer, all pages together
)

// question is what GET /api/jobs/ is asked for.
type question struct {
	running  bool  // jobs that run, and no others
	from, to int64 // Unix seconds of the start, both included; 0: whenever
}

func (q question) values(page int) url.Values {
	v := url.Values{"items-per-page": {strconv.Itoa(pageJobs)}, "page": {strconv.Itoa(page)}}
	if q.running {
		v.Set("state", "running")
	}
	if q.to > 0 {
		v.Set("start-time", fmt.Sprintf("%d-%d", q.from, q.to))
	}
	return v
}

// list asks for all pages and calls f for each job. A job that cannot be read is
// passed over, and told of in the error behind all others; skipped is how many.
//
// Pages shift when jobs begin or end in the meantime: a job may be on two of
// them, or on none.
func (c *Client) list(ctx context.Context, q question, f func(*jobs.Wire)) (skipped int, err error) {
	seen := 0
	for page := 1; ; page++ {
		var answer struct {
			Jobs  []json.RawMessage `json:"jobs"`
			Items int               `json:"items"` // that a page has, in what the server made of the question
			Page  int               `json:"page"`
		}
		if err := c.get(ctx, "api/jobs/", q.values(page), &answer); err != nil {
			return skipped, fmt.Errorf("jobs: page %d: %w", page, err)
		}
		switch {
		case answer.Jobs == nil && answer.Page == 0:
			return skipped, errors.New("jobs: the answer has no jobs")
		case answer.Page != page:
			return skipped, fmt.Errorf("jobs: asked for page %d, got page %d", page, answer.Page)
		}
		for _, text := range answer.Jobs {
			var w jobs.Wire
			if json.Unmarshal(text, &w) != nil {
				skipped++
				continue
			}
			f(&w)
		}
		seen += len(answer.Jobs)
		switch {
		case len(answer.Jobs) == 0, len(answer.Jobs) < answer.Items && answer.Items <= pageJobs:
			return skipped, nil
		case seen >= mostJobs:
			return skipped, fmt.Errorf("jobs: more than %d", mostJobs)
		}
	}
}
