package rest

import (
	"errors"
	"log/slog"
	"net/http"
	"slices"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/api/internal/table"
	"github.com/ringstore/ringstore/memstore"
)

// query answers /api/query:
//
//	{"queries": [...], "results": [[entry, ...], ...]}
//
// with one list of entries for each query. The member queries holds the queries that for-all-nodes
// stands for. Callers who see all clusters get "warnings": [text, ...] in addition, if there are any.
// The parameter version is accepted and ignored. The parameter format and the header Accept ask for
// a table instead; see queryTable.
func (h *Handler) query(w http.ResponseWriter, r *http.Request) error {
	format, err := table.Requested(r.URL.Query().Get("format"), r.Header)
	if err != nil {
		return badRequest("format: %s", err)
	}
	req, err := h.readRequest(w, r)
	if err != nil {
		return err
	}
	x := exchangeOf(w)
	x.asked = &asked{what: []slog.Attr{slog.String("cluster", clipped(req.Cluster))}, seconds: req.To - req.From}
	if format != table.JSON {
		return h.queryTable(w, r, req, format)
	}
	return h.answering(w, r, func(a *answer) error {
		defer func() { x.values, x.err, x.asked.cost = a.answered, a.failed, a.cost }()
		a.raw("{")
		if err := a.queries(req); err != nil {
			return err
		}
		a.raw(`"results":[`)
		if err := h.results(a, req); err != nil {
			return err
		}
		a.raw("]")
		for _, metric := range a.unknown {
			req.warnings.add("unknown metric", metric)
		}
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

// step appends the entry of a step, and the brackets of its query's list. A selection that does not
// exist, or that the caller may not see, has no entry.
func (a *answer) step(reader *access.Reader, req *request, s *step) error {
	data, err := a.read(reader, req, s)
	return a.finish(req, s, data, err)
}

// read reads the data of a step.
func (a *answer) read(reader *access.Reader, req *request, s *step) (memstore.Data, error) {
	if s.empty {
		return memstore.Data{}, memstore.ErrNotFound
	}
	r := req.timeRange(s.shape)
	r.Buffer = a.scratch
	data, err := reader.Read(a.ctx, s.sel, r)
	a.answered += len(data.Values)
	a.cost.series, a.cost.values = a.cost.series+data.Series, a.cost.values+data.Read
	return data, err
}

// finish appends what read returned.
func (a *answer) finish(req *request, s *step, data memstore.Data, err error) error {
	if s.begins {
		a.beginQuery(s.first)
	}
	switch {
	case err == nil:
		a.nextEntry()
		err = a.entry(req, data, s.scale)
		a.scratch = data.Values
	case errors.Is(err, memstore.ErrNotFound):
		err = nil
	default:
		if errors.Is(err, memstore.ErrUnknownMetric) && len(a.unknown) < maxWarnings {
			a.unknown = append(a.unknown, s.sel.Metric)
		}
		err = a.entryError(err)
	}
	if err != nil {
		return err
	}
	if s.ends {
		a.raw("]")
	}
	return a.more()
}

func (a *answer) beginQuery(first bool) {
	if !first {
		a.raw(",")
	}
	a.raw("[")
	a.cost.queries++
	a.began, a.listed = true, false
}

// nextEntry separates an entry from the one before it in the list of a query.
func (a *answer) nextEntry() {
	if a.listed {
		a.raw(",")
	}
	a.joins = a.joins || !a.began
	a.listed = true
}

func (a *answer) entryError(err error) error {
	text, gone := entryError(err)
	if gone {
		return err
	}
	if text == internal {
		a.failed = err
	}
	a.nextEntry()
	a.raw(`{"error":`)
	a.string(text)
	a.raw(`,"from":0,"to":0,"resolution":0,"avg":0,"min":0,"max":0}`)
	return nil
}

func (a *answer) entry(req *request, data memstore.Data, scale float64) error {
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
