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
	// maxSought is how many unknown kids of an issuer are remembered.
	maxSought = 256
)

// refresher passes on that a key is missing. Tokens of a kid that was looked for in vain are refused; those of any other
// kid may be of a key that was published since, and are put off until the next time to ask. So whoever sends unknown
// kids all day uses nothing up: a new key is fetched at most refreshEvery after it was published, and no token of it is
// refused before that.
type refresher struct {
	ask func() bool

	mu              sync.Mutex
	asked           time.Time
	open            bool                // no keys have come since
	sought, waiting map[string]struct{} // the kids that came in before it was asked last, and those since
}

// request asks for a refresh because a key is missing that is called kid, "" where the token does not tell. It reports
// whether there may be such a key that was not looked for yet.
func (r *refresher) request(now time.Time, kid string) bool {
	if r.ask == nil {
		return false
	}
	if len(kid) > maxName { // not worth remembering
		kid = ""
	}
	r.mu.Lock()
	age := now.Sub(r.asked)
	due := age >= refreshEvery || age < 0
	if due {
		r.asked, r.open = now, true
		r.sought, r.waiting = r.waiting, nil
		remember(&r.sought, kid)
	} else {
		remember(&r.waiting, kid)
	}
	_, sought := r.sought[kid]
	maybe := !sought || r.open && age < refreshTime || due
	r.mu.Unlock()
	if due && !r.ask() {
		r.done()
		return false
	}
	return maybe
}

// remember adds a kid to a set that has room.
func remember(kids *map[string]struct{}, kid string) {
	if *kids == nil {
		*kids = make(map[string]struct{})
	}
	if len(*kids) < maxSought {
		(*kids)[kid] = struct{}{}
	}
}

// done tells that what was asked for is there.
func (r *refresher) done() {
	r.mu.Lock()
	r.open = false
	r.mu.Unlock()
}
