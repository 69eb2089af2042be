package rest

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/ringstore/ringstore/auth"
)

// How long a query waits for others of the same principal, and how many may wait. A service such as
// cc-backend asks for all of its users at once and gives up after 10 s.
const (
	serviceWait    = 8 * time.Second
	serviceWaiting = 1024
	userWait       = time.Second
	userWaiting    = 4
)

// shares bound how many queries of a principal run at once.
type shares struct {
	mu sync.Mutex
	by map[sharer]*share // of those that have a query
}

// sharer is a principal. All callers are one while authentication is disabled.
type sharer struct{ issuer, subject string }

type share struct {
	running chan struct{}
	queries int // that run or wait
}

// share calls next when a query of the caller may run.
func (h *Handler) share(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leave, err := h.enter(r.Context(), exchangeOf(w).principal)
		if err != nil {
			h.fail(w, err)
			return
		}
		defer leave()
		next.ServeHTTP(w, r)
	})
}

// enter waits until a query of p may run. The caller calls leave when it has run.
func (h *Handler) enter(ctx context.Context, p *auth.Principal) (leave func(), err error) {
	var who sharer
	limit, waiting, wait := h.Limits.QueriesPerService, serviceWaiting, serviceWait
	if p != nil {
		who = sharer{p.Issuer, p.Subject}
		if !h.Policy.IsService(p) {
			limit, waiting, wait = h.Limits.QueriesPerUser, userWaiting, userWait
		}
	}
	s := h.shares.join(who, limit, waiting)
	if s == nil {
		return nil, h.tooManyQueries(limit)
	}
	select {
	case s.running <- struct{}{}:
		return func() { <-s.running; h.shares.leave(who, s) }, nil
	default:
	}
	timeout := time.NewTimer(wait)
	defer timeout.Stop()
	select {
	case s.running <- struct{}{}:
		return func() { <-s.running; h.shares.leave(who, s) }, nil
	case <-timeout.C:
		err = h.tooManyQueries(limit)
	case <-ctx.Done():
		err = ctx.Err()
	}
	h.shares.leave(who, s)
	return nil, err
}

func (h *Handler) tooManyQueries(limit int) error {
	f := overloaded("%d queries of yours are running; try again later", limit)
	h.counters.shed.Inc()
	return f
}

// join counts a query of a principal. It returns nil if too many wait already.
func (s *shares) join(who sharer, limit, waiting int) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh := s.by[who]
	if sh == nil {
		sh = &share{running: make(chan struct{}, cmp.Or(limit, 1))}
		s.by[who] = sh
	}
	if sh.queries >= cap(sh.running)+waiting {
		return nil
	}
	sh.queries++
	return sh
}

func (s *shares) leave(who sharer, sh *share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sh.queries--; sh.queries == 0 {
		delete(s.by, who)
	}
}
