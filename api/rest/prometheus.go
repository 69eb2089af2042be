package rest

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/auth"
)

// prometheusPrefix is where the API of Prometheus is served in addition, for clients that expect a
// path of its own.
const prometheusPrefix = "/prometheus"

// prometheusRoutes returns the routes of Prometheus' API.
func (h *Handler) prometheusRoutes() (routes []route) {
	if h.Prometheus == nil {
		return nil
	}
	add := func(rt route) {
		rt.dialect = prometheusAPI
		path := rt.path
		for _, prefix := range []string{"", prometheusPrefix} {
			rt.path = prefix + path
			routes = append(routes, rt)
		}
	}
	add(route{name: "remote-write", path: prometheus.WritePath, methods: []string{http.MethodPost}, action: auth.Write, serve: h.remoteWrite})
	for _, e := range h.Prometheus.Endpoints() {
		serve := func(w http.ResponseWriter, r *http.Request) error { return h.servePrometheus(w, r, e) }
		add(route{name: "prometheus", path: e.Path, methods: e.Methods, action: auth.Query, serve: serve})
	}
	return routes
}

// remoteWrite stores a message of remote write, with ?cluster= for series without that label. An
// answer without an error means that every sample was stored.
func (h *Handler) remoteWrite(w http.ResponseWriter, r *http.Request) error {
	b, err := h.openRaw(w, r, h.Limits.BodyBytes)
	if err != nil {
		return err
	}
	x := exchangeOf(w)
	src := ingest.Source{Cluster: r.URL.Query().Get("cluster"), Transport: transport}
	if may := h.clusters(x, auth.Write); !may.All() {
		src.May = may.Has
	}
	report, err := h.Prometheus.Write(w, r, prometheus.Submission{Body: b, MaxBytes: h.Limits.BodyBytes, Source: src, Ingester: h.Ingester})
	if report.Forbidden > 0 {
		h.auditDenial(x, r, auth.Write, auth.OtherCluster)
	}
	if _, ok := errors.AsType[*prometheus.Error](err); err == nil || ok {
		return err
	}
	return submissionFailure(err, report, nil)
}

// servePrometheus serves a request of Prometheus' API and keeps what it asked for, for the log of slow
// queries.
func (h *Handler) servePrometheus(w http.ResponseWriter, r *http.Request, e prometheus.Endpoint) error {
	caller, x := h.prometheusCaller(w), exchangeOf(w)
	caller.Cost = new(prometheus.Cost)
	defer func() {
		text := r.Form.Get("query")
		if text == "" {
			text = strings.Join(r.Form["match[]"], " ")
		}
		x.asked = &asked{
			what:    []slog.Attr{slog.String("path", e.Path), slog.String("query", clipped(text))},
			seconds: caller.Cost.Seconds,
			cost:    cost{queries: 1, series: caller.Cost.Series, values: caller.Cost.Values},
		}
	}()
	return e.Serve(w, r, caller)
}

// prometheusCaller returns the reader and the limit of the caller.
func (h *Handler) prometheusCaller(w http.ResponseWriter) prometheus.Caller {
	reader := h.reader(w)
	return prometheus.Caller{Reader: reader, MaxSamples: h.maxValues(reader, "")}
}

// prometheusBody is the body of a failure as Prometheus answers it.
func prometheusBody(f *failure) any {
	kind := f.kind
	if kind == "" {
		kind = prometheusKind(f.status)
	}
	return struct {
		Status string `json:"status"`
		Type   string `json:"errorType"`
		Error  string `json:"error"`
	}{"error", kind, f.public}
}

// prometheusKind returns the type of an error that is not about a query: Prometheus' where it has
// one, else the text of the status.
func prometheusKind(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "bad_data"
	case http.StatusNotFound:
		return "not_found"
	case http.StatusServiceUnavailable:
		return "unavailable"
	case http.StatusInternalServerError:
		return "internal"
	}
	return strings.ToLower(strings.ReplaceAll(http.StatusText(status), " ", "_"))
}
