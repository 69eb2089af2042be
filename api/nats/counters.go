package nats

import "github.com/prometheus/client_golang/prometheus"

// counters tell what came in by configured subject. They are one collector, so
// that they are registered together or not at all.
type counters struct {
	messages, bytes, refused, failed, rejected, dropped *prometheus.CounterVec
	connected                                           prometheus.GaugeFunc
}

// Reasons for counters.failed.
const (
	failedEncoding = "content_encoding"
	failedTooLarge = "too_large"
	failedAuth     = "authenticator"
	failedStore    = "store"
	failedMemory   = "memory" // of the store is full
)

func newCounters(connected func() bool) *counters {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "ringstore", Subsystem: "nats", Name: name, Help: help}
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), append([]string{"subject"}, labels...))
	}
	return &counters{
		messages: vec("messages_total", "Messages taken up, whatever became of them."),
		bytes:    vec("bytes_total", "Bytes of their bodies, as received."),
		refused:  vec("refused_total", "Messages without a token that may write.", "reason"),
		failed:   vec("failed_total", "Messages that were not stored, or not wholly, for another reason.", "reason"),
		rejected: vec("rejected_lines_total", "Lines that were not stored because something was wrong with them."),
		dropped:  vec("dropped_total", "Messages received and dropped because too many were waiting."),
		connected: prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("connected", "1 while connected to a server, else 0.")), func() float64 {
			if connected() {
				return 1
			}
			return 0
		}),
	}
}

// plain are those with no label but the subject.
func (c *counters) plain() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{c.messages, c.bytes, c.rejected, c.dropped}
}

func (c *counters) all() []prometheus.Collector {
	return []prometheus.Collector{c.messages, c.bytes, c.refused, c.failed, c.rejected, c.dropped, c.connected}
}

// Describe implements [prometheus.Collector].
func (c *counters) Describe(ch chan<- *prometheus.Desc) {
	for _, one := range c.all() {
		one.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c *counters) Collect(ch chan<- prometheus.Metric) {
	for _, one := range c.all() {
		one.Collect(ch)
	}
}
