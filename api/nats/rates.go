package nats

import (
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// rateWindow is what the rates are averaged over at least.
const rateWindow = 5 * time.Second

// rates close the connections to the embedded server that publish too much. The
// server has no such limit; it counts what comes.
type rates struct {
	messages, bytes int64 // per second; 0: no limit
	most            int   // connections
	counters        *counters
	exceeded        *note
	now             func() time.Time

	at   time.Time
	seen map[uint64]volume
}

// volume is what a connection has published until a moment.
type volume struct{ messages, bytes int64 }

// newRates returns nil if there are no limits.
func newRates(o *Embedded, c *counters, log *slog.Logger) *rates {
	if o.MessagesPerSecond <= 0 && o.BytesPerSecond <= 0 {
		return nil
	}
	return &rates{
		messages: o.MessagesPerSecond, bytes: o.BytesPerSecond, most: o.MaxConnections + 1, counters: c,
		exceeded: newNote(log, slog.LevelWarn, 10, "NATS publisher's connection closed: it publishes too much"),
		now:      time.Now, at: time.Now(),
	}
}

// turn looks at all connections but our own, which acknowledges what all others
// sent, if the last time is long enough ago.
func (r *rates) turn(s *server.Server, own uint64, disconnect func(id uint64)) {
	now := r.now()
	if now.Sub(r.at) < rateWindow {
		return
	}
	all, err := s.Connz(&server.ConnzOptions{Limit: r.most})
	if err != nil { // about the options, which are right
		return
	}
	for _, c := range r.over(all.Conns, now) {
		if c.Cid == own {
			continue
		}
		disconnect(c.Cid)
		r.counters.closed.Inc()
		r.exceeded.add(1, "host", c.IP, "user", clip(c.AuthorizedUser))
	}
}

// over returns the connections that exceeded their rate since the last time.
func (r *rates) over(all []*server.ConnInfo, now time.Time) (over []*server.ConnInfo) {
	seconds := now.Sub(r.at).Seconds()
	r.at = now
	seen := make(map[uint64]volume, len(all))
	for _, c := range all {
		v := volume{c.InMsgs, c.InBytes}
		before := r.seen[c.Cid]
		seen[c.Cid] = v
		if tooMuch(v.messages-before.messages, r.messages, seconds) || tooMuch(v.bytes-before.bytes, r.bytes, seconds) {
			over = append(over, c)
		}
	}
	r.seen = seen
	return over
}

func tooMuch(n, perSecond int64, seconds float64) bool {
	return perSecond > 0 && float64(n) > float64(perSecond)*seconds
}
