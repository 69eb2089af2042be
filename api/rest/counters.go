package rest

import (
	"fmt"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/auth"
)

// counters tell the world what was asked and answered. Their labels are our
// own names, so there are few of them.
type counters struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	canceled *prometheus.CounterVec
	values   *prometheus.CounterVec
	refusals *prometheus.CounterVec
}

func newCounters(r prometheus.Registerer) (counters, error) {
	c := counters{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "requests_total",
			Help: "Requests answered, by route and class of status; aborted: the answer broke off.",
		}, []string{"route", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "request_duration_seconds",
			Help:    "From a request's header to the end of its answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		canceled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "canceled_requests_total",
			Help: "Requests whose client went away before the end of the answer, by route.",
		}, []string{"route"}),
		values: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "http", Name: "answered_values_total",
			Help: "Values of series that answers were made of, nulls included, by route.",
		}, []string{"route"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "auth", Name: "refusals_total",
			Help:        "Requests refused for their token or its roles, or put off because a token could not be verified then, by reason.",
			ConstLabels: prometheus.Labels{"transport": transport},
		}, []string{"reason"}),
	}
	for _, v := range []prometheus.Collector{c.requests, c.seconds, c.canceled, c.values, c.refusals} {
		if err := r.Register(v); err != nil {
			return counters{}, fmt.Errorf("rest: %w", err)
		}
	}
	c.values.WithLabelValues("query")
	for _, code := range initialReasons {
		c.refusals.WithLabelValues(string(code))
	}
	return c, nil
}

// initialReasons are refusals that any server sees: they are counted from 0 on, so that
// the first one is an increase.
var initialReasons = [...]auth.Reason{auth.Missing, auth.Malformed, auth.Expired, auth.BadSignature, auth.UnknownIssuer, auth.InsufficientRole}

// expect makes the counters of a route, for the same reason.
func (c counters) expect(route string) {
	c.requests.WithLabelValues(route, "2xx")
	c.seconds.WithLabelValues(route)
	c.canceled.WithLabelValues(route)
}

// count adds an exchange that has ended.
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
