package rest

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/auth"
)

// write answers /api/write: line protocol, with ?cluster= for lines that name no cluster. An empty
// 200 answer means that every line was stored.
func (h *Handler) write(w http.ResponseWriter, r *http.Request) error {
	src := ingest.Source{Cluster: r.URL.Query().Get("cluster"), Transport: transport}
	return h.submit(w, r, http.StatusOK, src)
}

// submit stores the body of a request, and answers with the status stored if every line was stored.
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
		h.auditDenial(x, r, auth.Write, auth.OtherCluster)
	}
	if err != nil {
		return submissionFailure(err, report)
	}
	if n := report.RejectedTotal; n > 0 {
		lines := plural(n, "line", "lines")
		if src.Dialect.EachField { // a line counts as often as it has fields
			lines = plural(n, "line or field", "lines or fields")
		}
		f := badRequest("%s rejected, %s stored", lines, plural(report.Accepted, "sample", "samples"))
		f.report = &report
		return f
	}
	w.WriteHeader(stored)
	return nil
}

// submissionFailure returns the failure for an error of the body or of the store, with the report of
// what was stored before it.
func submissionFailure(err error, report ingest.Report) error {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		f = unavailable(err)
	}
	withReport := *f
	withReport.report = &report
	return &withReport
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
