package server

import (
	"reflect"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/rest"
)

// The status shows counters of NATS subjects. Gauges of a principal with the same name as a subject
// are not among them.
func TestSubscriptionsAreNoPrincipals(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	messages := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "ringstore_nats_messages_total"}, []string{"subject"})
	left := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "ringstore_nats_token_left_seconds"}, []string{"issuer", "subject"})
	registry.MustRegister(messages, left)
	messages.WithLabelValues("metrics").Add(3)
	left.WithLabelValues("a", "metrics").Set(60)
	left.WithLabelValues("b", "metrics").Set(30)
	left.WithLabelValues("a", "alice").Set(30)
	got, err := operator{counters: registry}.subscriptions()
	want := []rest.Subscription{{Subject: "metrics", Counters: map[string]float64{"messages": 3}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}
