package rest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/auth"
)

// counters are the metrics of requests. All label values are names of ours and none come from
// clients, so the number of series is bounded.
type counters struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	canceled *prometheus.CounterVec
	values   *prometheus.CounterVec
	refusals *prometheus.CounterVec
	shed     prometheus.Counter
}

func newCounters(r prometheus.Registerer) (counters, error) {
	c := counters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "requests_total",
			Help: "Requests answered, by route and class of status; aborted: the answer was cut off.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "request_duration_seconds",
			Help:    "Time from the header of a request to the end of its answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		canceled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "canceled_requests_total",
			Help: "Requests whose client disconnected before the end of the answer, by route.",
		}, []string{"route"}),
		values: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "answered_values_total",
			Help: "Values of series in answers, nulls included, by route.",
		}, []string{"route"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "auth", Name: "refusals_total",
			Help:        "Requests refused for their token or its roles, or deferred because the token could not be verified at that time, by reason.",
			ConstLabels: prometheus.Labels{"transport": transport},
		}, []string{"reason"}),
	}
	for _, v := range []prometheus.Collector{c.requests, c.seconds, c.canceled, c.values, c.refusals} {
		if err := r.Register(v); err != nil {
			return counters{}, fmt.Errorf("rest: %w", err)
		}
	}
	c.shed = prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: "ringstore", Subsystem: "http", Name: "shed_queries_total",
		Help: "Queries answered 503 because too many of the same principal were running.",
	})
	if err := r.Register(c.shed); err != nil {
		return counters{}, fmt.Errorf("rest: %w", err)
	}
	c.values.WithLabelValues("query")
	for _, code := range initialReasons {
		c.refusals.WithLabelValues(string(code))
	}
	return c, nil
}

// initialReasons are refusals that every server sees. Their counters start at 0, so that the first
// refusal is an increase.
var initialReasons = [...]auth.Reason{auth.Missing, auth.Malformed, auth.Expired, auth.BadSignature, auth.UnknownIssuer, auth.InsufficientRole}

// expect creates the counters of a route, for the same reason.
func (c counters) expect(route string) {
	c.requests.WithLabelValues(route, "2xx")
	c.seconds.WithLabelValues(route)
	c.canceled.WithLabelValues(route)
}

// count counts a finished exchange.
func (c counters) count(x *exchange, canceled, aborted bool, took time.Duration) {
	class := strconv.Itoa(x.status/100) + "xx"
	if aborted || x.status == 0 {
		class = "aborted"
	}
	c.requests.WithLabelValues(x.route, class).Inc()
	c.seconds.WithLabelValues(x.route).Observe(took.Seconds())
	if canceled {
		c.canceled.WithLabelValues(x.route).Inc()
	}
	if x.values > 0 {
		c.values.WithLabelValues(x.route).Add(float64(x.values))
	}
}

func (c counters) refused(code auth.Reason) { c.refusals.WithLabelValues(string(code)).Inc() }
