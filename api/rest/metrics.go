package rest

import (
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// The limits of a metrics listener, which asks its clients for no token.
const (
	metricsTimeout     = 30 * time.Second // for one request, from its header to the end of the answer
	maxMetricsRequests = 8                // at the same time; more are answered with 503
)

const metricsPath = "/metrics"

// MetricsHandler returns a handler that serves a registry at /metrics without a token, and nothing
// else. It is for a listener of its own; a [Handler] serves the same path to those whose token
// allows it.
func MetricsHandler(registry *prometheus.Registry) (http.Handler, error) {
	export := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxMetricsRequests})
	methods := []string{http.MethodGet, http.MethodHead}
	router, err := newRouter([]endpoint{{path: metricsPath, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			wrongMethod(w, methods).write(w)
			return
		}
		export.ServeHTTP(w, r)
	})}}, func(w http.ResponseWriter, _ *http.Request) { noSuchPath().write(w) })
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		deadline := time.Now().Add(metricsTimeout)
		_ = control.SetReadDeadline(deadline) // network connections support both deadlines
		_ = control.SetWriteDeadline(deadline)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		router.ServeHTTP(w, r)
	}), nil
}
