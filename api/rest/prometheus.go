package rest

import (
	"net/http"
	"strings"

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
	for _, e := range h.Prometheus.Endpoints() {
		serve := func(w http.ResponseWriter, r *http.Request) error { return e.Serve(w, r, h.prometheusCaller(w)) }
		for _, prefix := range []string{"", prometheusPrefix} {
			routes = append(routes, route{
				name: "prometheus", path: prefix + e.Path, methods: e.Methods, action: auth.Query, dialect: prometheusAPI, serve: serve,
			})
		}
	}
	return routes
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
