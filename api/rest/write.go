package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
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
	verbose, err := isVerbose(r)
	if err != nil {
		return err
	}
	b, err := h.open(w, r, h.Limits.BodyBytes)
	if err != nil {
		return err
	}
	defer b.Close()
	src.ListUnconfigured = verbose
	x := exchangeOf(w)
	if may := h.clusters(x, auth.Write); !may.All() {
		src.May = may.Has
	}
	report, err := h.Ingester.Stream(r.Context(), src, b)
	if report.Forbidden > 0 {
		h.auditDenial(x, r, auth.Write, auth.OtherCluster)
	}
	var counts *batchCounts
	if verbose {
		counts = &batchCounts{report.Unknown, append([]string{}, slices.Sorted(slices.Values(report.Unconfigured))...), report.Duplicates}
	}
	if err != nil {
		return submissionFailure(err, report, counts)
	}
	if n := report.RejectedTotal; n > 0 {
		lines := plural(n, "line", "lines")
		if src.Dialect.EachField { // a line counts as often as it has fields
			lines = plural(n, "line or field", "lines or fields")
		}
		f := badRequest("%s rejected, %s stored", lines, plural(report.Accepted, "sample", "samples"))
		f.report, f.counts = &report, counts
		return f
	}
	if verbose {
		return h.answering(w, r, func(a *answer) error { return a.batch(report, counts) })
	}
	w.WriteHeader(stored)
	return nil
}

// batchCounts is what ?verbose=1 adds to the answer of a write: lines that are no error, but that
// are stored under no name or hide another line.
type batchCounts struct {
	Unconfigured        int      `json:"unconfigured"`         // lines
	UnconfiguredMetrics []string `json:"unconfigured-metrics"` // at most 100
	Duplicates          int      `json:"duplicates"`           // lines
}

// isVerbose reports whether a write asks for counts of its batch.
func isVerbose(r *http.Request) (bool, error) {
	value := r.URL.Query().Get("verbose")
	if value == "" {
		return false, nil
	}
	verbose, err := strconv.ParseBool(value)
	if err != nil {
		return false, badRequest("verbose: expected 1 or 0")
	}
	return verbose, nil
}

// batch appends the answer of a write with ?verbose=1.
func (a *answer) batch(report ingest.Report, counts *batchCounts) error {
	body, err := json.Marshal(struct {
		Accepted int `json:"accepted"`
		*batchCounts
	}{report.Accepted, counts})
	a.raw(string(body))
	return err
}

// submissionFailure returns the failure for an error of the body or of the store, with the report
// of what was stored before it.
func submissionFailure(err error, report ingest.Report, counts *batchCounts) error {
	f, ok := errors.AsType[*failure](err)
	switch {
	case errors.Is(err, ingest.ErrUnusable):
		f = badRequest("%v", ingest.ErrUnusable)
	case !ok:
		f = unavailable(err)
	}
	withReport := *f
	withReport.report, withReport.counts = &report, counts
	return &withReport
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}
