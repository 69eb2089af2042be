package nats

import "github.com/prometheus/client_golang/prometheus"

// counters are the package's metrics. They form one collector, so that either all are registered or
// none.
type counters struct {
	messages, bytes, refused, failed, rejected, dropped, redelivered *prometheus.CounterVec

	connected                               prometheus.GaugeFunc
	connectionsRefused                      *prometheus.CounterVec
	connects, unchecked, closed, violations prometheus.Counter
	lost                                    prometheus.Counter

	streams, deadLetters, gaps *prometheus.CounterVec
	pending, ackPending        *prometheus.GaugeVec
	more                       []prometheus.Collector
}

// Reasons for counters.failed.
const (
	failedEncoding = "content_encoding"
	failedTooLarge = "too_large"
	failedAuth     = "authenticator"
	failedStore    = "store"
	failedEvent    = "event"
	failedUnusable = "unusable_lines"
	failedMemory   = "memory" // the store's memory is full
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
		connectionsRefused: prometheus.NewCounterVec(prometheus.CounterOpts(opts("connections_refused_total",
			"Publishers whose connection was refused.")), []string{"reason"}),
		connects:   plain("connects_total", "Connections that RingStore made to a server. All but the first followed a loss."),
		unchecked:  plain("connections_unchecked_total", "Publishers disconnected because they could not be checked; they reconnect."),
		closed:     plain("connections_closed_total", "Publishers' connections closed because the token expired or is no longer valid, or a limit was exceeded."),
		violations: plain("violations_total", "Attempts of connected publishers to publish or subscribe without permission."),
		lost:       plain("lost_messages_total", "Messages that the embedded server had taken, lost when it disconnected RingStore itself."),
		streams:    vec("stream_messages_total", "Messages of streams by verdict: ack, nak (redelivered later) or term (never redelivered).", "verdict"),
		deadLetters: vec("dead_letters_total", "Messages of streams given up because they stayed unverifiable or in the future, by reason."+
			" attempts: delivered too often; share: too many others of guests waited.", "reason"),
		gaps:       vec("stream_gap_messages_total", "Messages that their stream removed before they were delivered, such as for its age or size limit."),
		pending:    gauge("stream_pending", "Messages of the stream not yet delivered to the consumer."),
		ackPending: gauge("stream_ack_pending", "Messages of the stream delivered but not acknowledged."),
		redelivered: vec("redelivered_total",
			"Messages of streams delivered again, because they were not acknowledged or their verdict was nak."),
		messages: vec("messages_total", "Messages received, whatever their result."),
		bytes:    vec("bytes_total", "Bytes of their bodies, as received."),
		refused:  vec("refused_total", "Messages refused because their token was missing, bad or without permission to write.", "reason"),
		failed:   vec("failed_total", "Messages not stored, or only in part, for another reason.", "reason"),
		rejected: vec("rejected_lines_total", "Lines rejected because they were malformed or without permission, or their samples refused."),
		dropped:  vec("dropped_total", "Messages dropped because too many were waiting."),
		connected: prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts("connected", "1 while connected to a server, else 0.")), func() float64 {
			if connected() {
				return 1
			}
			return 0
		}),
	}
}

// bySubject returns the counters whose only label is the subject.
func (c *counters) bySubject() []*prometheus.CounterVec {
	return []*prometheus.CounterVec{c.messages, c.bytes, c.rejected, c.dropped, c.redelivered, c.gaps}
}

func (c *counters) all() []prometheus.Collector {
	return append([]prometheus.Collector{
		c.messages, c.bytes, c.refused, c.failed, c.rejected, c.dropped, c.redelivered,
		c.connected, c.connectionsRefused, c.connects, c.unchecked, c.closed, c.violations, c.lost, c.streams, c.deadLetters, c.gaps, c.pending, c.ackPending,
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
