package rest

import (
	"errors"
	"net/http"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/auth"
)

// write answers /api/write: line protocol, with ?cluster= for lines that name
// none. 200 without a body says that every line is stored.
func (h *Handler) write(w http.ResponseWriter, r *http.Request) error {
	src := ingest.Source{Cluster: r.URL.Query().Get("cluster"), Transport: transport}
	return h.submit(w, r, http.StatusOK, src)
}

// submit stores the body of a request and answers that it did by a status.
func (h *Handler) submit(w http.ResponseWriter, r *http.Request, stored int, src ingest.Source) error {
	b, err := h.open(w, r, h.Limits.BodyBytes)
	if err != nil {
		return err
	}
	defer b.Close()
	x := exchangeOf(w)
	if may := h.clusters(x, auth.Write); !may.All() {
		src.May = may.Has
	}
	report, err := h.Ingester.Stream(r.Context(), src, b)
	if report.Forbidden > 0 {
		h.turnedAway(x, r, auth.Write, auth.OtherCluster)
	}
	if err != nil {
		return submissionFailure(err, report)
	}
	if n := report.RejectedTotal; n > 0 {
		of := "lines"
		if src.Dialect.EachField { // one is counted as often as it has fields
			of = "lines or fields"
		}
		f := badRequest("%d %s were not stored, %d samples were", n, of, report.Accepted)
		f.report = &report
		return f
	}
	w.WriteHeader(stored)
	return nil
}

// submissionFailure tells an error of the body from one of the store, and what
// had been stored before it.
func submissionFailure(err error, report ingest.Report) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = unavailable(err)
	}
	told := *f
	told.report = &report
	return &told
}
