package auth

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
)

// Accepted stands in for a Reason when accepted tokens are counted.
const Accepted Reason = "accepted"

// verificationCounts counts verifications by result. There is at most one entry per configured
// issuer and reason.
type verificationCounts struct {
	mu     sync.Mutex
	counts map[issuerReason]uint64
}

type issuerReason struct {
	issuer string // its configured name; empty if the token names none of them
	code   Reason
}

func (v *verificationCounts) count(issuer string, err error) {
	code := Accepted
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		code = refusal.Code
	} else if overloaded, ok := errors.AsType[*Overloaded](err); ok {
		code = overloaded.Code
	} else if err != nil { // the caller did not wait
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.counts == nil {
		v.counts = make(map[issuerReason]uint64)
	}
	v.counts[issuerReason{issuer, code}]++
}

// Verifications calls f for each issuer and reason, in that order, with the number of tokens
// verified since the chain was made; tokens that a Cache answers are not among them. The issuer is
// the configured name, empty for tokens that match none; the reason is Accepted, or that of the
// *Refusal or *Overloaded. Issuers stay listed after they were removed from the configuration. f is
// called outside the lock.
func (c *Chain) Verifications(f func(issuer string, code Reason, n uint64)) {
	c.verifications.mu.Lock()
	counts := maps.Clone(c.verifications.counts)
	c.verifications.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(c.issuers.Load().byName)) { // listed from the start
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
