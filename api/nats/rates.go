package nats

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// rateWindow is the minimum time that rates are averaged over.
const rateWindow = 5 * time.Second

// rates closes connections to the embedded server that publish too much. The server has no such
// limit, but counts what each connection publishes.
type rates struct {
	messages, bytes int64 // per second; 0: no limit
	maxConnections  int
	counters        *counters
	exceeded        *rateLimitedLog
	now             func() time.Time

	at   time.Time         // of the last check
	seen map[uint64]volume // at the last check, by connection
}

// volume is how much a connection has published.
type volume struct{ messages, bytes int64 }

// newRates returns nil if there are no limits.
func newRates(o *Embedded, c *counters, log *slog.Logger) *rates {
	if o.MessagesPerSecond <= 0 && o.BytesPerSecond <= 0 {
		return nil
	}
	return &rates{
		messages: o.MessagesPerSecond, bytes: o.BytesPerSecond, maxConnections: o.MaxConnections + 1, counters: c,
		exceeded: newRateLimitedLog(log, slog.LevelWarn, 10, "NATS publisher's connection closed: it publishes too much"),
		now:      time.Now, at: time.Now(),
	}
}

// check closes the connections that exceeded their rate, if the last check was at least rateWindow
// ago. It excepts our own connection, which acknowledges the messages of all others.
func (r *rates) check(s *server.Server, own uint64, disconnect func(id uint64)) {
	now := r.now()
	if now.Sub(r.at) < rateWindow {
		return
	}
	all, err := s.Connz(&server.ConnzOptions{Limit: r.maxConnections})
	if err != nil { // only about wrong options
		return
	}
	for _, c := range r.exceeding(all.Conns, now) {
		if c.Cid == own {
			continue
		}
		disconnect(c.Cid)
		r.counters.closed.Inc()
		r.exceeded.add(1, "host", c.IP, "user", truncated(c.AuthorizedUser))
	}
}

// exceeding returns the connections that exceeded their rate since the last check.
func (r *rates) exceeding(all []*server.ConnInfo, now time.Time) (found []*server.ConnInfo) {
	seconds := now.Sub(r.at).Seconds()
	r.at = now
	seen := make(map[uint64]volume, len(all))
	for _, c := range all {
		v := volume{c.InMsgs, c.InBytes}
		before := r.seen[c.Cid]
		seen[c.Cid] = v
		if exceeds(v.messages-before.messages, r.messages, seconds) || exceeds(v.bytes-before.bytes, r.bytes, seconds) {
			found = append(found, c)
		}
	}
	r.seen = seen
	return found
}

func exceeds(n, perSecond int64, seconds float64) bool {
	return perSecond > 0 && float64(n) > float64(perSecond)*seconds
}
