package rest

import (
	"errors"
	"math"
	"net/http"

	"github.com/ringstore/ringstore/api/internal/table"
	"github.com/ringstore/ringstore/memstore"
)

// queryTable answers /api/query with a row for each value. A table has no place for what is wrong
// with one entry, so any of that fails the request.
func (h *Handler) queryTable(w http.ResponseWriter, r *http.Request, req *request, f table.Format) error {
	x := exchangeOf(w)
	a := &answer{ctx: r.Context()}
	defer func() { x.values, x.err, x.asked.cost = a.answered, a.failed, a.cost }()
	own := &turn{h: h}
	defer own.leave()
	w.Header().Set("Content-Type", f.ContentType())
	t, err := table.NewWriter(&turnWriter{w, a, own}, f)
	if err != nil {
		return err
	}
	for s := range req.steps() {
		if err := own.take(a.ctx); err != nil {
			return err
		}
		if err := own.pass(a.ctx); err != nil {
			return err
		}
		if s.begins {
			a.cost.queries++
		}
		data, err := a.read(req.reader, req, &s)
		if err == nil {
			a.scratch = data.Values
			err = addRows(t, &s, &data)
		}
		if err != nil && !errors.Is(err, memstore.ErrNotFound) {
			return tableError(err)
		}
	}
	return t.Close()
}

// tableError returns the error of a request one of whose entries has an error.
func tableError(err error) error {
	if text, gone := entryError(err); !gone && text != internal {
		return badRequest("%s", text)
	}
	return err
}

// addRows adds the values of a step. Slots without a value have no row.
func addRows(t *table.Writer, s *step, data *memstore.Data) error {
	series := table.Series{
		Cluster: s.sel.Cluster, Hostname: s.sel.Host, Metric: s.sel.Metric,
		Type: s.sel.Type, TypeID: single(s.sel.TypeIDs), SType: s.sel.Subtype, STypeID: single(s.sel.SubtypeIDs),
	}
	if series.Type == "" || series.Type == "node" {
		series.Type, series.TypeID = "node", ""
	}
	for i, v := range data.Values {
		if math.IsNaN(v) {
			continue
		}
		if err := t.Add(&series, (data.From+int64(i)*data.Resolution)*1000, v*s.scale); err != nil {
			return err
		}
	}
	return nil
}

// single returns the only id; none for an aggregate over several.
func single(ids []string) string {
	if len(ids) == 1 {
		return ids[0]
	}
	return ""
}

// turnWriter sends to a client, which may be slow: others work meanwhile.
type turnWriter struct {
	w    http.ResponseWriter
	a    *answer
	turn *turn
}

func (t *turnWriter) Write(b []byte) (int, error) {
	if err := t.a.ctx.Err(); err != nil {
		return 0, err
	}
	t.turn.leave()
	return t.w.Write(b)
}
