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
	checkEvery   = time.Minute    // at a token that nothing has happened to
	warnBefore   = 24 * time.Hour // of a token's expiry
	mostGauges   = 1000           // principals with a gauge of their own
	checkTimeout = time.Second    // the server gives up after two
)

// publishers are the connections to the embedded server that brought a token:
// whose they are, and until when. They end with what they were granted for.
type publishers struct {
	admission *admission
	grace     time.Duration
	now       func() time.Time
	conns     connections
	expiring  *note
	closed    *note

	mu   sync.Mutex // never held while the server is asked, which may be logging
	byID map[uint64]*publisher
}

// connections are the server's.
type connections interface {
	connected(id uint64) bool
	// disconnect hangs up without a word: the client takes that for a lost
	// connection, and comes again.
	disconnect(id uint64)
}

type publisher struct {
	grant
	host       string
	deadline   time.Time // zero: none
	generation uint64    // of what the grant is founded on
	checked    time.Time
	warned     bool // that the token expires soon
	expired    bool // and that it has
}

func newPublishers(a *admission, grace time.Duration, conns connections) *publishers {
	return &publishers{
		admission: a, grace: grace, now: time.Now, conns: conns, byID: make(map[uint64]*publisher),
		expiring: newNote(a.o.Log, slog.LevelWarn, 10, "NATS publisher's token expires"),
		closed:   newNote(a.o.Log, slog.LevelWarn, 10, "NATS publisher's connection closed"),
	}
}

func (p *publishers) notes() []*note { return []*note{p.expiring, p.closed} }

// admit is admission's, and keeps what it granted. The deadline is when the
// connection has to end, zero if never.
func (p *publishers) admit(ctx context.Context, id uint64, r request) (g grant, deadline time.Time, err error) {
	generation := p.admission.generation() // before: what changes meanwhile is looked at again
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

// of returns the publisher of a connection, nil for a guest.
func (p *publishers) of(id uint64) *publisher {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byID[id]
}

// turn looks after all connections: it forgets those that have gone, closes
// those whose token no longer holds, and warns of those whose token expires.
func (p *publishers) turn(ctx context.Context) {
	now, generation := p.now(), p.admission.generation()
	p.mu.Lock()
	all := maps.Clone(p.byID)
	p.mu.Unlock()
	verdicts := make(map[string]error) // by token, which many connections share
	for id, one := range all {
		switch {
		case !p.conns.connected(id):
			p.forget(id, one, now)
		case one.generation != generation || now.Sub(one.checked) >= checkEvery:
			err, known := verdicts[one.token]
			if !known {
				err = p.admission.holds(ctx, one.grant, now)
				verdicts[one.token] = err
			}
			p.settle(id, one, err, now, generation)
		}
		p.warn(one, now)
	}
}

// settle acts upon what has been found out of a connection's token. A fault on
// our side is no reason to close it, and it is looked at again.
func (p *publishers) settle(id uint64, one *publisher, err error, now time.Time, generation uint64) {
	code, refused := reasonOf(err)
	switch {
	case err == nil:
		p.mu.Lock()
		one.checked, one.generation = now, generation
		p.mu.Unlock()
	case refused:
		p.close(id, one, string(code))
		record(p.admission.o.Audit, one.host, one.principal, code)
	case err == errChanged:
		p.close(id, one, err.Error())
	}
}

func (p *publishers) close(id uint64, one *publisher, why string) {
	p.conns.disconnect(id)
	p.admission.counters.closed.Inc()
	p.closed.add(1, "reason", why, "issuer", one.principal.Issuer, "subject", one.principal.Subject, "host", one.host)
	p.remove(id)
}

// forget removes a connection that has gone, and tells of it if it had to.
func (p *publishers) forget(id uint64, one *publisher, now time.Time) {
	p.remove(id)
	if one.deadline.IsZero() || now.Before(one.deadline) {
		return
	}
	p.admission.counters.closed.Inc()
	p.closed.add(1, "reason", string(auth.Expired), "issuer", one.principal.Issuer, "subject", one.principal.Subject, "host", one.host)
	record(p.admission.o.Audit, one.host, one.principal, auth.Expired)
}

func (p *publishers) remove(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byID, id)
}

// warn tells, while something can be done, that a token expires, and that it
// has.
func (p *publishers) warn(one *publisher, now time.Time) {
	exp := one.principal.Expires
	if exp.IsZero() {
		return
	}
	left := exp.Sub(now)
	tell := !one.warned && left < warnBefore || !one.expired && left <= 0
	if !tell {
		return
	}
	one.warned, one.expired = true, left <= 0
	p.expiring.add(1, "issuer", one.principal.Issuer, "subject", one.principal.Subject, "host", one.host,
		"expires", exp.UTC().Format(time.RFC3339), "closes", one.deadline.UTC().Format(time.RFC3339))
}

// who is a principal as the gauge names it.
type who struct{ issuer, subject string }

// secondsLeft returns for each connected principal how long its tokens are
// valid, the shortest of them, and how many connections there are in all.
func (p *publishers) secondsLeft() (left map[who]float64, connections int) {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	left = make(map[who]float64)
	for _, one := range p.byID {
		if one.principal.Expires.IsZero() {
			continue
		}
		w := who{one.principal.Issuer, one.principal.Subject}
		seconds := one.principal.Expires.Sub(now).Seconds()
		if s, known := left[w]; !known || seconds < s {
			left[w] = seconds
		}
	}
	return left, len(p.byID)
}

// publisherGauges show the publishers to Prometheus: all connections, and of
// the principals those whose tokens expire first.
type publisherGauges struct {
	publishers  *publishers
	clients     func() int
	connections *prometheus.Desc
	all         *prometheus.Desc
	left        *prometheus.Desc
}

// newPublisherGauges takes what counts all connections.
func newPublisherGauges(p *publishers, clients func() int) publisherGauges {
	return publisherGauges{
		publishers: p,
		clients:    clients,
		all: prometheus.NewDesc("ringstore_nats_clients",
			"Connections to the embedded server, with a token or without, ours included.", nil, nil),
		connections: prometheus.NewDesc("ringstore_nats_publishers",
			"Connections to the embedded server that brought a token.", nil, nil),
		left: prometheus.NewDesc("ringstore_nats_token_left_seconds",
			"Seconds until the token of a connected publisher expires, the first of a principal's; below 0 within the grace.",
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
	first := slices.SortedFunc(maps.Keys(left), func(a, b who) int { return cmp.Compare(left[a], left[b]) })
	for _, w := range first[:min(len(first), mostGauges)] {
		ch <- prometheus.MustNewConstMetric(g.left, prometheus.GaugeValue, left[w], w.issuer, w.subject)
	}
}
