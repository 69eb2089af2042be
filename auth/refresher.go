package auth

import (
	"crypto/sha256"
	"sync"
	"time"
)

const (
	// refreshEvery is how often an issuer's keys are asked for at most because of tokens with an unknown one.
	refreshEvery = 5 * time.Second
	// maxKIDs is how many unknown kids of an issuer are remembered, the last ones.
	maxKIDs = 1 << 15
)

// refresher passes on that a key is missing. A token's kid is refused once the keys were asked for after it had been
// seen first, and it was not among them; until then the token is put off. So whoever sends unknown kids all day uses
// nothing up: a new key is fetched at most refreshEvery after it was published, and no token of it is refused before
// that. Of a token without a kid nobody knows whether its key was there: it is put off while an answer is waited for.
type refresher struct {
	ask func() bool

	mu       sync.Mutex
	asked    time.Time
	open     bool      // and not answered yet
	answered time.Time // when the question was asked that was answered last

	recent[kidHash, time.Time] // when kids were seen first
}

type kidHash [8]byte

// request asks for a refresh because a key is missing that is called kid, "" where the token does not tell. It reports
// whether there may be such a key.
func (r *refresher) request(now time.Time, kid string) bool {
	if r.ask == nil {
		return false
	}
	r.mu.Lock()
	age := now.Sub(r.asked)   // a little below 0 for who has waited since
	if age <= -refreshEvery { // the clock was set back: what is known is of no use
		r.asked, r.open, r.answered, r.recent = time.Time{}, false, time.Time{}, recent[kidHash, time.Time]{}
		age = refreshEvery
	}
	due := age >= refreshEvery
	if due {
		if r.open { // there will be no answer
			r.answered = r.asked
		}
		r.asked, r.open = now, true
	}
	maybe := r.open
	if kid != "" {
		maybe = r.answered.Before(r.firstSeen(kid, now))
	}
	r.mu.Unlock()
	if due && !r.ask() {
		r.done()
		return false
	}
	return maybe
}

// firstSeen is called with mu held.
func (r *refresher) firstSeen(kid string, now time.Time) time.Time {
	sum := sha256.Sum256([]byte(kid))
	h := kidHash(sum[:])
	first, young := r.get(h)
	if young {
		return first
	}
	if first.IsZero() {
		first = now
	}
	if len(r.young) >= maxKIDs/2 {
		r.turn()
	}
	r.put(h, first)
	return first
}

// done tells that all that there is has come.
func (r *refresher) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		r.open, r.answered = false, r.asked
	}
}
