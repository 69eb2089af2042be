package nats

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/auth"
)

const (
	recheckInterval = time.Minute    // of a token, if the generation has not changed
	warnBefore      = 24 * time.Hour // of a token's expiry
	maxGauges       = 1000           // principals
	checkTimeout    = time.Second    // nats-server gives up after two
)

// publishers are the embedded server's connections with a token: their principals and deadlines. A
// connection is closed when its grant no longer holds.
type publishers struct {
	admission *admission
	grace     time.Duration
	now       func() time.Time
	conns     clientConnections
	expiring  *rateLimitedLog
	closed    *rateLimitedLog

	mu   sync.Mutex // never held during calls of the server, which may call violation
	byID map[uint64]*publisher
}

// clientConnections are the server's connections.
type clientConnections interface {
	connected(id uint64) bool
	// disconnect closes a connection without an error message. To the client the connection is
	// lost, and it reconnects.
	disconnect(id uint64)
}

type publisher struct {
	grant
	host       string
	deadline   time.Time // zero: none
	generation uint64    // of the Authenticator at the last check
	checked    time.Time
	warned     bool // that the token expires soon
	expired    bool // and that it has expired
}

func newPublishers(a *admission, grace time.Duration, conns clientConnections) *publishers {
	return &publishers{
		admission: a, grace: grace, now: time.Now, conns: conns, byID: make(map[uint64]*publisher),
		expiring: newRateLimitedLog(a.o.Log, slog.LevelWarn, 10, "NATS publisher's token expires"),
		closed:   newRateLimitedLog(a.o.Log, slog.LevelWarn, 10, "NATS publisher's connection closed"),
	}
}

func (p *publishers) limitedLogs() []*rateLimitedLog { return []*rateLimitedLog{p.expiring, p.closed} }

// admit decides a request and records the granted connection. The deadline is when the connection
// must be closed, zero if never.
func (p *publishers) admit(ctx context.Context, id uint64, r request) (g grant, deadline time.Time, err error) {
	generation := p.admission.generation() // before admit, so that check sees a change during it
	g, err = p.admission.admit(ctx, r)
	if err != nil || g.principal == nil {
		return g, deadline, err
	}
	if exp := g.principal.Expires; !exp.IsZero() {
		deadline = exp.Add(p.grace)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[id] = &publisher{grant: g, host: r.host, deadline: deadline, generation: generation, checked: p.now()}
	return g, deadline, nil
}

// get returns the publisher of a connection, nil for a guest.
func (p *publishers) get(id uint64) *publisher {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// check forgets connections that have gone, closes those whose grant no longer holds, and warns
// about those whose token expires.
func (p *publishers) check(ctx context.Context) {
	now, generation := p.now(), p.admission.generation()
	p.mu.Lock()
	all := maps.Clone(p.byID)
	p.mu.Unlock()
	results := make(map[string]error) // by token, as many connections share one
	for id, one := range all {
		switch {
		case !p.conns.connected(id):
			p.forget(id, one, now)
		case one.generation != generation || now.Sub(one.checked) >= recheckInterval:
			err, known := results[one.token]
			if !known {
				err = p.admission.recheck(ctx, one.grant, now)
				results[one.token] = err
			}
			p.apply(id, one, err, now, generation)
		}
		p.warn(one, now)
	}
}

// apply applies the result of a recheck to a connection. After an error on our side the connection
// stays, and is checked again.
func (p *publishers) apply(id uint64, one *publisher, err error, now time.Time, generation uint64) {
	code, refused := reasonOf(err)
	switch {
	case err == nil:
		p.mu.Lock()
		one.checked, one.generation = now, generation
		p.mu.Unlock()
	case refused:
		p.close(id, one, string(code))
		auditRefusal(p.admission.o.Audit, one.host, one.principal, code)
	case err == errRightsChanged:
		p.close(id, one, err.Error())
	}
}

func (p *publishers) close(id uint64, one *publisher, why string) {
	p.conns.disconnect(id)
	p.admission.counters.closed.Inc()
	p.closed.add(1, "reason", why, "issuer", one.principal.Issuer, "subject", one.principal.Subject, "host", one.host)
	p.remove(id)
}

// forget removes a connection that has gone. If it reached its deadline, the server closed it,
// which is counted, logged and audited.
func (p *publishers) forget(id uint64, one *publisher, now time.Time) {
	p.remove(id)
	if one.deadline.IsZero() || now.Before(one.deadline) {
		return
	}
	p.admission.counters.closed.Inc()
	p.closed.add(1, "reason", string(auth.Expired), "issuer", one.principal.Issuer, "subject", one.principal.Subject, "host", one.host)
	auditRefusal(p.admission.o.Audit, one.host, one.principal, auth.Expired)
}

func (p *publishers) remove(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// warn logs once that a token expires soon, and once that it has expired.
func (p *publishers) warn(one *publisher, now time.Time) {
	exp := one.principal.Expires
	if exp.IsZero() {
		return
	}
	left := exp.Sub(now)
	due := !one.warned && left < warnBefore || !one.expired && left <= 0
	if !due {
		return
	}
	one.warned, one.expired = true, left <= 0
	p.expiring.add(1, "issuer", one.principal.Issuer, "subject", one.principal.Subject, "host", one.host,
		"expires", exp.UTC().Format(time.RFC3339), "closes", one.deadline.UTC().Format(time.RFC3339))
}

// principalID is a principal as the gauge's labels.
type principalID struct{ issuer, subject string }

// secondsLeft returns how long each connected principal's tokens are valid, the shortest of each,
// and the number of connections.
func (p *publishers) secondsLeft() (left map[principalID]float64, connections int) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	left = make(map[principalID]float64)
	for _, one := range p.byID {
		if one.principal.Expires.IsZero() {
			continue
		}
		w := principalID{one.principal.Issuer, one.principal.Subject}
		seconds := one.principal.Expires.Sub(now).Seconds()
		if s, known := left[w]; !known || seconds < s {
			left[w] = seconds
		}
	}
	return left, len(p.byID)
}

// publisherGauges export the number of connections and the principals whose tokens expire first.
type publisherGauges struct {
	publishers  *publishers
	clients     func() int
	connections *prometheus.Desc
	all         *prometheus.Desc
	left        *prometheus.Desc
}

// newPublisherGauges returns the gauges. clients counts all connections.
func newPublisherGauges(p *publishers, clients func() int) publisherGauges {
	return publisherGauges{
		publishers: p,
		clients:    clients,
		all: prometheus.NewDesc("ringstore_nats_clients",
			"Connections to the embedded server, with or without a token, including RingStore's own.", nil, nil),
		connections: prometheus.NewDesc("ringstore_nats_publishers",
			"Connections to the embedded server with a token.", nil, nil),
		left: prometheus.NewDesc("ringstore_nats_token_left_seconds",
			"Seconds until a connected principal's first token expires; negative within the grace.",
			[]string{"issuer", "subject"}, nil),
	}
}

// Describe implements [prometheus.Collector].
func (g publisherGauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range [...]*prometheus.Desc{g.connections, g.all, g.left} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (g publisherGauges) Collect(ch chan<- prometheus.Metric) {
	left, connections := g.publishers.secondsLeft()
	ch <- prometheus.MustNewConstMetric(g.connections, prometheus.GaugeValue, float64(connections))
	ch <- prometheus.MustNewConstMetric(g.all, prometheus.GaugeValue, float64(g.clients()))
	first := slices.SortedFunc(maps.Keys(left), func(a, b principalID) int { return cmp.Compare(left[a], left[b]) })
	for _, w := range first[:min(len(first), maxGauges)] {
		ch <- prometheus.MustNewConstMetric(g.left, prometheus.GaugeValue, left[w], w.issuer, w.subject)
	}
}
