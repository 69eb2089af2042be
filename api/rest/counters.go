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
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "ringstore", Subsystem: "auth", Name: "refusals_total",
			Help:        "Requests refused for their token or its roles, or put off because a token could not be verified then, by reason.",
			ConstLabels: prometheus.Labels{"transport": transport},
		}, []string{"reason"}),
	}
	for _, v := range []prometheus.Collector{c.requests, c.seconds, c.refusals} {
		if err := r.Register(v); err != nil {
			return counters{}, fmt.Errorf("rest: %w", err)
		}
	}
	return c, nil
}

func (c counters) count(route string, status int, aborted bool, took time.Duration) {
	class := strconv.Itoa(status/100) + "xx"
	if aborted || status == 0 {
		class = "aborted"
	}
	c.requests.WithLabelValues(route, class).Inc()
	c.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (c counters) refused(code auth.Reason) { c.refusals.WithLabelValues(string(code)).Inc() }
