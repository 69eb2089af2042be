package auth

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Accepted stands for a token that was found good, where verifications are counted.
const Accepted Reason = "accepted"

// tally counts what verifications came to. There is an entry for each configured issuer and reason at the most.
type tally struct {
	mu     sync.Mutex
	counts map[issuerReason]uint64
}

type issuerReason struct {
	issuer string // its configured name; empty if the token names none of them
	code   Reason
}

func (t *tally) count(issuer string, err error) {
	code := Accepted
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		code = refusal.Code
	} else if overloaded, ok := errors.AsType[*Overloaded](err); ok {
		code = overloaded.Code
	} else if err != nil { // who asked did not wait
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = make(map[issuerReason]uint64)
	}
	t.counts[issuerReason{issuer, code}]++
}

// Verifications calls f for each issuer and reason with the number of tokens that were verified since the chain was
// made, in the order of issuer and reason: of those that a Cache knows none are. The issuer is the configured name, and
// empty for tokens that name none; the reason is Accepted, or that of the *Refusal or *Overloaded. Issuers that are no
// longer configured stay. f is called outside the lock.
func (c *Chain) Verifications(f func(issuer string, code Reason, n uint64)) {
	c.tally.mu.Lock()
	counts := maps.Clone(c.tally.counts)
	c.tally.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.roster.Load().byName)) { // there from the start
		if _, known := counts[issuerReason{name, Accepted}]; !known {
			f(name, Accepted, 0)
		}
	}
	keys := slices.SortedFunc(maps.Keys(counts), func(x, y issuerReason) int {
		return cmp.Or(cmp.Compare(x.issuer, y.issuer), cmp.Compare(x.code, y.code))
	})
	for _, k := range keys {
		f(k.issuer, k.code, counts[k])
	}
}
