package nats

import "github.com/prometheus/client_golang/prometheus"

// counters tell what came in by configured subject. They are one collector, so
// that they are registered together or not at all.
type counters struct {
	messages, bytes, refused, failed, rejected, dropped, redelivered *prometheus.CounterVec

	connected                               prometheus.GaugeFunc
	turnedAway                              *prometheus.CounterVec
	connects, unchecked, closed, violations prometheus.Counter

	streams             *prometheus.CounterVec
	pending, ackPending *prometheus.GaugeVec
	more                []prometheus.Collector
}

// Reasons for counters.failed.
const (
	failedEncoding = "content_encoding"
	failedTooLarge = "too_large"
	failedAuth     = "authenticator"
	failedStore    = "store"
	failedEvent    = "event"
	failedMemory   = "memory" // of the store is full
)

func newCounters(connected func() bool) *counters {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "ringstore", Subsystem: "nats", Name: name, Help: help}
	}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), append([]string{"subject"}, labels...))
	}
	plain := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), []string{"stream", "durable"})
	}
	return &counters{
		turnedAway: prometheus.NewCounterVec(prometheus.CounterOpts(opts("connections_refused_total",
			"Publishers whose connection was refused.")), []string{"reason"}),
		connects:   plain("connects_total", "Connections that we made to a server; all but the first came after a loss."),
		unchecked:  plain("connections_unchecked_total", "Publishers who were sent away to come again because they could not be checked."),
		closed:     plain("connections_closed_total", "Connections of publishers that were closed: token expired or no longer good, or a limit exceeded."),
		violations: plain("violations_total", "Attempts of connected publishers to publish or subscribe where they may not."),
		streams:    vec("stream_messages_total", "Messages of streams by what became of them: ack, nak (to come again) or term (never).", "verdict"),
		pending:    gauge("stream_pending", "Messages of the stream that have not been delivered to the consumer."),
		ackPending: gauge("stream_ack_pending", "Messages of the stream that were delivered and not acknowledged."),
		redelivered: vec("redelivered_total",
			"Messages of streams that were delivered again, because they were not acknowledged or put off."),
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
	return []*prometheus.CounterVec{c.messages, c.bytes, c.rejected, c.dropped, c.redelivered}
}

func (c *counters) all() []prometheus.Collector {
	return append([]prometheus.Collector{
		c.messages, c.bytes, c.refused, c.failed, c.rejected, c.dropped, c.redelivered,
		c.connected, c.turnedAway, c.connects, c.unchecked, c.closed, c.violations, c.streams, c.pending, c.ackPending,
	}, c.more...)
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
