package auth

import (
	"crypto/sha256"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// refreshEvery is the minimum time between two requests for an issuer's keys because of unknown
	// ones.
	refreshEvery = 5 * time.Second
	// maxKIDs is how many unknown kids are remembered per issuer, the most recent ones.
	maxKIDs = 1 << 15
)

// refresher requests an issuer's keys when a token names an unknown one. A token is refused once
// the keys were requested after its kid had first been seen, and the answer did not include it;
// until then the client is asked to retry. So tokens with unknown kids cannot exhaust anything: a
// new key is fetched at most refreshEvery after it was published, and no token of it is refused
// before that. A token without a kid does not say which key is missing: the client is asked to
// retry while an answer is pending.
type refresher struct {
	ask func() bool // nil: keys are never requested

	mu       sync.Mutex
	asked    time.Time
	pending  bool      // the last request is not answered yet
	answered time.Time // when the last answered request was made

	firstSeen *lru.Cache[kidHash, time.Time] // of kids
}

type kidHash [8]byte

func newRefresher(ask func() bool) *refresher {
	return &refresher{ask: ask, firstSeen: newLRU[kidHash, time.Time](maxKIDs)}
}

// request asks for a refresh because the key named kid is missing; kid is empty if the token does
// not name one. It reports whether such a key may still come.
func (r *refresher) request(now time.Time, kid string) bool {
	if r.ask == nil {
		return false
	}
	r.mu.Lock()
	age := now.Sub(r.asked)   // slightly negative for a caller that has waited since
	if age <= -refreshEvery { // the clock was set back: all recorded times are meaningless
		r.asked, r.pending, r.answered = time.Time{}, false, time.Time{}
		r.firstSeen.Purge()
		age = refreshEvery
	}
	due := age >= refreshEvery
	if due {
		if r.pending { // the last request will not be answered any more
			r.answered = r.asked
		}
		r.asked, r.pending = now, true
	}
	possible := r.pending
	if kid != "" {
		possible = r.answered.Before(r.seen(kid, now))
	}
	r.mu.Unlock()
	if due && !r.ask() {
		r.done()
		return false
	}
	return possible
}

// seen returns when the kid was first seen. The caller holds mu.
func (r *refresher) seen(kid string, now time.Time) time.Time {
	sum := sha256.Sum256([]byte(kid))
	hash := kidHash(sum[:])
	first, known := r.firstSeen.Get(hash)
	if !known {
		first = now
		r.firstSeen.Add(hash, first)
	}
	return first
}

// done records that the last request was answered, and all keys there are have been set.
func (r *refresher) done() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending {
		r.pending, r.answered = false, r.asked
	}
}
