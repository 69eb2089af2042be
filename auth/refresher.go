package auth

import (
	"sync"
	"time"
)

const (
	// refreshEvery is how often an issuer's keys are asked for at most because of tokens with an unknown one.
	refreshEvery = 10 * time.Second
	// refreshTime is how long such an answer is waited for.
	refreshTime = 5 * time.Second
)

// refresher passes on that a key is missing. It limits the rate alone and counts nothing, so nobody can use it up: who
// sends unknown kids all day makes the next one be fetched at most refreshEvery after it was published.
type refresher struct {
	ask func() bool

	mu    sync.Mutex
	asked time.Time
	open  bool // no keys have come since
}

// request asks for a refresh and reports whether one is under way.
func (r *refresher) request(now time.Time) bool {
	if r.ask == nil {
		return false
	}
	r.mu.Lock()
	age := now.Sub(r.asked)
	due := age >= refreshEvery || age < 0
	if due {
		r.asked, r.open = now, true
	}
	open := r.open && (due || age < refreshTime)
	r.mu.Unlock()
	if due && !r.ask() {
		r.done()
		return false
	}
	return open
}

// done tells that what was asked for is there.
func (r *refresher) done() {
	r.mu.Lock()
	r.open = false
	r.mu.Unlock()
}
