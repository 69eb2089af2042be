package rest

import (
	"cmp"
	"container/list"
	"context"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ConnectionLimits bound the connections of a [Server]. A connection is identified once one of its
// requests was permitted by a token.
type ConnectionLimits struct {
	Total   int // open at the same time; 0 means 16,384
	PerPeer int // not identified, from one address (IPv6: one /64); 0 means 1,024

	// HeaderTimeout is how long an unidentified connection may take for the TLS handshake and the
	// header of its first request; 0 means 5 s. Between two requests it has four times as long.
	HeaderTimeout time.Duration
}

const (
	defaultConnections = 16_384
	defaultPerPeer     = 1024

	// unidentifiedShare is the part of all connections that may be unidentified, as a divisor. The
	// rest is reserved for clients that have shown a token.
	unidentifiedShare = 4
	// longHeaders is how many unidentified connections may send a header of more than headerChunk
	// bytes at the same time, and longHeadersPerPeer how many of one address. The others wait.
	longHeaders        = 64
	longHeadersPerPeer = longHeaders / 2
	// waitingHandlers is how many requests of an unidentified HTTP/2 connection may be in progress
	// before the server stops reading from it.
	waitingHandlers = 16

	unidentifiedHeaderTimeout = 5 * time.Second
	idleFactor                = 4 // of the header timeout: the time between two requests
)

// admission keeps the connections of a server within its limits. If there are too many unidentified
// ones, it closes the oldest of the address that has most: a client with a token needs only
// milliseconds to become identified, while one that holds connections open waits.
type admission struct {
	total, perPeer, unidentified int
	headerTimeout                time.Duration

	mu      sync.Mutex
	open    int
	waiting int                         // unidentified connections
	peers   map[netip.Addr]*peerTraffic // with unidentified connections
	long    int                         // long headers being read
	changed chan struct{}               // closed when long decreases
	evicted uint64                      // connections closed in favour of others
}

// peerTraffic is what the unidentified connections of one address use.
type peerTraffic struct {
	connections list.List // of *connection, oldest first
	long        int
}

func newAdmission(l ConnectionLimits) *admission {
	a := &admission{
		total:   cmp.Or(l.Total, defaultConnections),
		perPeer: cmp.Or(l.PerPeer, defaultPerPeer),

		headerTimeout: cmp.Or(l.HeaderTimeout, unidentifiedHeaderTimeout),
		peers:         make(map[netip.Addr]*peerTraffic),
		changed:       make(chan struct{}),
	}
	a.unidentified = max(1, a.total/unidentifiedShare)
	return a
}

// connection is a network connection and what the server knows of its client. Its methods are safe
// for concurrent use.
type connection struct {
	net.Conn
	admission *admission
	peer      netip.Addr
	last      atomic.Bool // the next answer closes it

	identified atomic.Bool
	http2      atomic.Bool
	phase      atomic.Int32 // of HTTP/1
	closed     chan struct{}
	closing    sync.Once
	timer      *time.Timer // closes the connection while it is unidentified

	// Guarded by admission.mu.
	place *list.Element // in peerTraffic.connections; nil if identified or closed
	long  bool          // sends a long header

	mu       sync.Mutex
	onClose  func()        // may be nil
	requests int           // in progress
	progress chan struct{} // closed when requests decreases
}

// admit returns the connection of c, or nil if there is no place for it; c is then closed.
func (a *admission) admit(c net.Conn) *connection {
	x := &connection{
		Conn: c, admission: a, peer: peerOf(c.RemoteAddr()), closed: make(chan struct{}), progress: make(chan struct{}),
	}
	x.timer = time.AfterFunc(math.MaxInt64, func() { _ = x.Close() })
	x.timer.Reset(a.headerTimeout) // the timer is set before it can fire
	a.mu.Lock()
	p := a.peers[x.peer]
	if p == nil {
		p = new(peerTraffic)
	}
	var victim *connection
	switch {
	case p.connections.Len() >= a.perPeer:
		victim = p.oldest()
	case a.waiting >= a.unidentified, a.open >= a.total:
		victim = a.busiest().oldest()
	}
	full := a.open >= a.total && victim == nil
	if !full {
		a.open++
		a.waiting++
		x.place = p.connections.PushBack(x)
		a.peers[x.peer] = p
	}
	if victim != nil {
		a.evicted++
	}
	a.mu.Unlock()
	if full {
		x.timer.Stop()
		_ = c.Close() // it was never used
		return nil
	}
	if victim != nil {
		_ = victim.Close() // its client gets no answer
	}
	return x
}

// evictOldest closes an unidentified connection, and reports whether there was one.
func (a *admission) evictOldest() bool {
	a.mu.Lock()
	victim := a.busiest().oldest()
	if victim != nil {
		a.evicted++
	}
	a.mu.Unlock()
	if victim == nil {
		return false
	}
	_ = victim.Close() // its client gets no answer
	return true
}

// EvictedConnections returns how many connections the server has closed in favour of others, before
// they had shown an accepted token.
func (s *Server) EvictedConnections() uint64 {
	s.admission.mu.Lock()
	defer s.admission.mu.Unlock()
	return s.admission.evicted
}

// busiest returns the address with most unidentified connections, nil for none.
func (a *admission) busiest() (most *peerTraffic) {
	for _, p := range a.peers {
		if most == nil || p.connections.Len() > most.connections.Len() {
			most = p
		}
	}
	return most
}

func (p *peerTraffic) oldest() *connection {
	if p == nil || p.connections.Len() == 0 {
		return nil
	}
	return p.connections.Front().Value.(*connection)
}

// peerOf returns the address whose connections are counted together: of IPv6 the network, since one
// client usually has all addresses of a /64.
func peerOf(addr net.Addr) netip.Addr {
	t, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip
}

// identify records that a token permitted a request of the connection. Its limits are then those of
// the http.Server.
func (c *connection) identify() {
	if c == nil || c.identified.Load() || c.identified.Swap(true) {
		return
	}
	c.timer.Stop()
	c.leave(false)
	c.wake()
}

// leave removes the connection from those that are unidentified.
func (c *connection) leave(closed bool) {
	a := c.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if closed {
		a.open--
	}
	if c.place == nil {
		return
	}
	a.waiting--
	p := a.peers[c.peer]
	p.connections.Remove(c.place)
	c.place = nil
	a.endLongHeader(c, p)
	if p.connections.Len() == 0 {
		delete(a.peers, c.peer)
	}
}

// Close closes the connection. It can be called again.
func (c *connection) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		c.timer.Stop()
		err = c.Conn.Close()
		close(c.closed)
		c.leave(true)
		c.mu.Lock()
		f := c.onClose
		c.mu.Unlock()
		if f != nil {
			f()
		}
	})
	return err
}

// setOnClose has f called when the connection is closed.
func (c *connection) setOnClose(f func()) {
	c.mu.Lock()
	c.onClose = f
	c.mu.Unlock()
	select {
	case <-c.closed:
		f() // again, which does no harm
	default:
	}
}

// CloseWrite shuts down the sending side, so that the client still gets the last answer.
func (c *connection) CloseWrite() error { return closeWrite(c.Conn) }

func closeWrite(c net.Conn) error {
	if t, ok := c.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return nil
}

// Read reads from the network. An unidentified HTTP/2 connection with many requests in progress
// waits first: its headers are in memory until they are answered.
func (c *connection) Read(p []byte) (int, error) {
	for c.http2.Load() && !c.identified.Load() {
		c.mu.Lock()
		busy, progress := c.requests >= waitingHandlers, c.progress
		c.mu.Unlock()
		if !busy {
			break
		}
		select {
		case <-progress:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return c.Conn.Read(p)
}

// begin is called when the header of a request has been read, and end when it is answered.
func (c *connection) begin() {
	if c == nil {
		return
	}
	c.phase.Store(afterHeader)
	if c.identified.Load() {
		return
	}
	c.endLongHeader()
	c.mu.Lock()
	c.requests++
	c.mu.Unlock()
	c.timer.Stop()
}

func (c *connection) end() {
	if c == nil || c.identified.Load() {
		return
	}
	c.mu.Lock()
	c.requests--
	idle := c.requests == 0
	c.mu.Unlock()
	if idle {
		c.timer.Reset(idleFactor * c.admission.headerTimeout)
		if c.identified.Load() { // in the meantime, by another request
			c.timer.Stop()
		}
	}
	c.wake()
}

// wake lets Read look again at the requests in progress.
func (c *connection) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.progress)
	c.progress = make(chan struct{})
}

// beginLongHeader waits until the connection may send a long header.
func (c *connection) beginLongHeader() error {
	for !c.identified.Load() {
		began, changed := c.tryLongHeader()
		if began {
			return nil
		}
		select {
		case <-changed:
		case <-c.closed:
			return net.ErrClosed
		}
	}
	return nil
}

// tryLongHeader reports whether the connection may send a long header, or returns a channel that is
// closed when that may have changed.
func (c *connection) tryLongHeader() (began bool, changed <-chan struct{}) {
	a := c.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.place == nil || c.long {
		return true, nil
	}
	p := a.peers[c.peer]
	if a.long >= longHeaders || p.long >= longHeadersPerPeer {
		return false, a.changed
	}
	c.long = true
	a.long++
	p.long++
	return true, nil
}

func (c *connection) endLongHeader() {
	a := c.admission
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.place != nil {
		a.endLongHeader(c, a.peers[c.peer])
	}
}

// endLongHeader lets the next long header be sent. a.mu is held.
func (a *admission) endLongHeader(c *connection, p *peerTraffic) {
	if !c.long {
		return
	}
	c.long = false
	a.long--
	p.long--
	close(a.changed)
	a.changed = make(chan struct{})
}

type connectionKey struct{}

// connectionOf returns the connection of a request's context, nil if the request did not come
// through a [Server].
func connectionOf(ctx context.Context) *connection {
	c, _ := ctx.Value(connectionKey{}).(*connection)
	return c
}
