package rest

import (
	"net"
	"time"
)

// Route is a route as tests of the description see it.
type Route struct {
	Path    string
	Below   bool // and all paths below it
	Methods []string
	Open    bool // without a token
}

// Routes are all that there are.
func (h *Handler) Routes() (all []Route) {
	for _, r := range h.routes() {
		all = append(all, Route{r.path, r.prefix, r.methods, r.action == 0})
	}
	return all
}

// SetAlone sets how long a query works without helpers.
func (h *Handler) SetAlone(d time.Duration) { h.alone = d }

// Queries returns how many queries of a principal run or wait.
func (h *Handler) Queries(issuer, subject string) int {
	h.shares.mu.Lock()
	defer h.shares.mu.Unlock()
	if s := h.shares.by[sharer{issuer, subject}]; s != nil {
		return s.queries
	}
	return 0
}

// Connection is an unidentified HTTP/2 connection.
type Connection struct{ *connection }

// NewConnection returns the connection that a server makes of c.
func NewConnection(c net.Conn) Connection {
	x := newAdmission(ConnectionLimits{}).admit(c)
	x.http2.Store(true)
	return Connection{x}
}

// Begin, End and Identify are called for requests of the connection.
func (c Connection) Begin()    { c.begin() }
func (c Connection) End()      { c.end() }
func (c Connection) Identify() { c.identify() }

// WaitingHandlers is how many requests an unidentified HTTP/2 connection may have in progress.
const WaitingHandlers = waitingHandlers
