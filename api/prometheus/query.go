package prometheus

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ringstore/ringstore/api/internal/table"
)

// maxPoints is how many points a range query answers for each series, as in Prometheus.
const maxPoints = 11_000

// query answers an instant query.
func (a *API) query(w http.ResponseWriter, r *http.Request, c Caller) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	at, err := timeParameter(r, "time", a.o.Now())
	if err != nil {
		return err
	}
	return a.evaluate(w, r, c, func(ctx context.Context, q queryable, o promql.QueryOpts) (promql.Query, error) {
		return a.engine.NewInstantQuery(ctx, q, o, r.Form.Get("query"), at)
	})
}

// queryRange answers a range query.
func (a *API) queryRange(w http.ResponseWriter, r *http.Request, c Caller) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	for _, name := range []string{"start", "end", "step"} {
		if r.Form.Get(name) == "" {
			return badData("the parameter %q is missing", name)
		}
	}
	start, err := timeParameter(r, "start", time.Time{})
	if err != nil {
		return err
	}
	end, err := timeParameter(r, "end", time.Time{})
	if err != nil {
		return err
	}
	step, err := durationParameter(r, "step", 0)
	switch {
	case err != nil:
		return err
	case end.Before(start):
		return badData("invalid parameter %q: it is before start", "end")
	case step < time.Millisecond:
		return badData("invalid parameter %q: expected at least one millisecond", "step")
	case end.Unix()-start.Unix() > int64(maxPoints*step.Seconds()):
		return badData("a series would have more than %d points: use a longer step or a shorter time range", maxPoints)
	}
	if c.Cost != nil {
		c.Cost.Seconds = end.Unix() - start.Unix()
	}
	return a.evaluate(w, r, c, func(ctx context.Context, q queryable, o promql.QueryOpts) (promql.Query, error) {
		return a.engine.NewRangeQuery(ctx, q, o, r.Form.Get("query"), start, end, step)
	})
}

// evaluate runs a query and answers its result.
func (a *API) evaluate(w http.ResponseWriter, r *http.Request, c Caller, prepare func(context.Context, queryable, promql.QueryOpts) (promql.Query, error)) error {
	if err := checkSize(r.Form.Get("query")); err != nil {
		return badParameter("query", err)
	}
	timeout, err := durationParameter(r, "timeout", a.o.Timeout)
	if err != nil {
		return err
	}
	lookback, err := durationParameter(r, "lookback_delta", 0)
	if err != nil {
		return err
	}
	limit, err := limitParameter(r, "limit")
	if err != nil {
		return err
	}
	format, err := table.Requested(r.Form.Get("format"), r.Header)
	if err != nil {
		return badParameter("format", err)
	}
	ctx, cancel := context.WithTimeout(r.Context(), min(timeout, a.o.Timeout))
	defer cancel()
	limits := promql.NewPrometheusQueryOptsWithLimits(false, lookback, 0, uint64(c.MaxSamples), 0, nil)
	q, err := prepare(ctx, queryable{a, c.reading()}, limits)
	if err != nil && ctx.Err() != nil { // also while it is parsed
		return failed(ctx.Err())
	}
	if err != nil {
		return badParameter("query", err)
	}
	defer q.Close()
	if err := a.checkSteps(q); err != nil {
		return badParameter("query", err)
	}
	result := q.Exec(ctx)
	if result.Err != nil {
		return failed(result.Err)
	}
	value, cut := truncated(result.Value, limit)
	if format != table.JSON {
		return answerTable(w, format, value)
	}
	notes := noteOf(result.Warnings, r.Form.Get("query"))
	if cut {
		notes.cutOff()
	}
	return answer(w, notes, func(b *body) {
		b.raw(`{"resultType":`)
		b.string(string(value.Type()))
		b.raw(`,"result":`)
		b.value(value)
		b.raw("}")
	})
}

// truncated returns at most limit series of a value, and whether there were more; 0 means all.
func truncated(v parser.Value, limit int) (parser.Value, bool) {
	if limit == 0 {
		return v, false
	}
	switch v := v.(type) {
	case promql.Matrix:
		return v[:min(limit, len(v))], len(v) > limit
	case promql.Vector:
		return v[:min(limit, len(v))], len(v) > limit
	}
	return v, false
}
