package rest

import (
	"errors"
	"net/http"
	"slices"

	"github.com/ringstore/ringstore/memstore"
)

// query answers /api/query:
//
//	{"queries": [...], "results": [[entry, ...], ...]}
//
// with one list of entries for each query. The member queries holds the queries that for-all-nodes
// stands for. Callers who see all clusters get "warnings": [text, ...] in addition, if there are any. The parameter version is accepted and ignored.
func (h *Handler) query(w http.ResponseWriter, r *http.Request) error {
	req, err := h.readRequest(w, r)
	if err != nil {
		return err
	}
	exchangeOf(w).request = req
	return h.answering(w, r, func(a *answer) error {
		a.raw("{")
		if err := a.queries(req); err != nil {
			return err
		}
		a.raw(`"results":[`)
		first := true
		for q := range req.all() {
			a.comma(&first)
			if err := h.result(a, req, q); err != nil {
				return err
			}
		}
		a.raw("]")
		a.warnings(req.warnings)
		a.raw("}")
		return nil
	})
}

func (a *answer) queries(req *request) error {
	first := true
	for q := range req.generated() {
		if first {
			a.raw(`"queries":[`)
		}
		a.comma(&first)
		a.raw(`{"metric":`)
		a.string(q.Metric)
		a.raw(`,"host":`)
		a.string(q.Host)
		a.raw(`,"resolution":0,"aggreg":false}`)
		if err := a.more(); err != nil {
			return err
		}
	}
	if !first {
		a.raw("],")
	}
	return nil
}

// result appends the entries of one query. A selection that does not exist, or that the caller may
// not see, has no entry.
func (h *Handler) result(a *answer, req *request, q *query) error {
	a.raw("[")
	req.count++
	first := true
	for sel := range q.selections(req.Cluster) {
		r := req.timeRange(q)
		r.Buffer = a.scratch
		data, err := req.reader.Read(a.ctx, sel, r)
		exchangeOf(a.w).values += len(data.Values)
		req.series, req.values = req.series+data.Series, req.values+data.Read
		switch {
		case err == nil:
			a.comma(&first)
			err = a.entry(req, data, q.ScaleBy)
			a.scratch = data.Values
		case errors.Is(err, memstore.ErrNotFound):
			err = nil
		default:
			if errors.Is(err, memstore.ErrUnknownMetric) {
				req.warnings.add("unknown metric", q.Metric)
			}
			a.comma(&first)
			err = a.entryError(err)
		}
		if err != nil {
			return err
		}
		if err := a.more(); err != nil {
			return err
		}
	}
	a.raw("]")
	return a.more()
}

func (a *answer) entryError(err error) error {
	text, gone := entryError(err)
	if gone {
		return err
	}
	if text == internal {
		exchangeOf(a.w).err = err
	}
	a.raw(`{"error":`)
	a.string(text)
	a.raw(`,"from":0,"to":0,"resolution":0,"avg":0,"min":0,"max":0}`)
	return nil
}

func (a *answer) entry(req *request, data memstore.Data, scale float64) error {
	if scale == 0 {
		scale = 1
	}
	a.raw("{")
	if req.WithData && len(data.Values) > 0 {
		if err := a.values(data.Values, scale); err != nil {
			return err
		}
		a.raw(",")
	}
	var stats memstore.Stats
	if req.WithStats {
		stats = data.Stats()
	}
	a.raw(`"from":`)
	a.int(data.From)
	a.raw(`,"to":`)
	a.int(data.To)
	a.raw(`,"resolution":`)
	a.int(data.Resolution)
	a.raw(`,"avg":`)
	a.float(stats.Avg * scale)
	a.raw(`,"min":`)
	a.float(stats.Min * scale)
	a.raw(`,"max":`)
	a.float(stats.Max * scale)
	a.raw("}")
	return nil
}

func (a *answer) values(values []float64, scale float64) error {
	a.raw(`"data":`)
	separator := byte('[')
	for part := range slices.Chunk(values, 1024) {
		a.buf = appendValues(a.buf, part, scale, separator)
		separator = ','
		if err := a.more(); err != nil {
			return err
		}
	}
	a.raw("]")
	return nil
}
