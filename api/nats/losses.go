package nats

import (
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	natsgo "github.com/nats-io/nats.go"
)

// losses counts the messages that the embedded server had accepted for our own connection, and that
// were lost when that broke, such as when they arrived faster than they could be read. A stream
// delivers its messages again, so these are counted although they are not lost.
type losses struct {
	mu       sync.Mutex
	conn     *natsgo.Conn
	id       uint64 // of the connection at the server; 0: none yet
	base     uint64 // messages that conn had received before this connection
	received uint64 // messages that conn had received when it was disconnected
}

// disconnected is called before conn is made again.
func (l *losses) disconnected(conn *natsgo.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if conn == l.conn {
		l.received = conn.Stats().InMsgs
	}
}

// connected begins to count for a new connection, and returns what the last one has lost. It returns
// false if there was none.
func (l *losses) connected(s *server.Server, conn *natsgo.Conn, id uint64) (lost int64, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.id != 0 {
		again = true
		last, err := s.Connz(&server.ConnzOptions{CID: l.id, State: server.ConnAll})
		if err == nil && len(last.Conns) == 1 {
			lost = max(last.Conns[0].OutMsgs-int64(l.received-l.base), 0)
		}
	}
	base := uint64(0)
	if conn == l.conn {
		base = l.received
	}
	l.conn, l.id, l.base, l.received = conn, id, base, base
	return lost, again
}

// countLost counts what our last connection to the embedded server has lost.
func (s *Subscriber) countLost(c *natsgo.Conn) {
	lost, again := s.losses.connected(s.embedded.server, c, s.embedded.ownID.Load())
	if lost > 0 {
		s.counters.lost.Add(float64(lost))
		s.o.Log.Error("NATS messages lost: the embedded server disconnected RingStore", "messages", lost)
	}
	for _, f := range s.feeds {
		if f.Events != nil && again {
			f.Events.MarkLost()
		}
	}
}
