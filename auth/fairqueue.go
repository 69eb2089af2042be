package auth

import (
	"net/netip"
	"slices"
)

// fairQueue holds the tokens that wait, by issuer and peer. Issuers are served in turn, and so are
// the peers of an issuer. Each issuer has its own limit; within it a peer with fewer waiting tokens
// displaces those of the peer with most.
type fairQueue struct {
	maxLen  int            // of one issuer
	issuers []*issuerQueue // that have waiting tokens; the first is served next
}

type issuerQueue struct {
	name  string
	len   int
	peers []*peerQueue // that have waiting tokens; the first is served next
}

type peerQueue struct {
	peer    netip.Addr
	waiting []*waiter // not empty
}

// len returns the number of waiting tokens.
func (q *fairQueue) len() (n int) {
	for _, i := range q.issuers {
		n += i.len
	}
	return n
}

// push adds w, and reports whether there was a place for it.
func (q *fairQueue) push(w *waiter) bool {
	i := q.issuer(w.issuer)
	if i == nil {
		i = &issuerQueue{name: w.issuer}
		q.issuers = append(q.issuers, i)
	}
	p := i.peer(w.peer)
	if i.len == q.maxLen {
		most := slices.MaxFunc(i.peers, func(a, b *peerQueue) int { return len(a.waiting) - len(b.waiting) })
		if p != nil && len(p.waiting)+1 >= len(most.waiting) || p == nil && len(most.waiting) == 1 {
			return false
		}
		last := most.waiting[len(most.waiting)-1]
		q.remove(last)
		last.displaced = true
		close(last.ready)
	}
	if p == nil {
		p = &peerQueue{peer: w.peer}
		i.peers = append(i.peers, p)
	}
	p.waiting = append(p.waiting, w)
	i.len++
	return true
}

// pop removes the token that is served next, nil if there is none. Its issuer and peer then wait for
// all others.
func (q *fairQueue) pop() *waiter {
	if len(q.issuers) == 0 {
		return nil
	}
	i := q.issuers[0]
	p := i.peers[0]
	w := p.waiting[0]
	q.issuers = append(slices.Delete(q.issuers, 0, 1), i)
	i.peers = append(slices.Delete(i.peers, 0, 1), p)
	q.remove(w)
	return w
}

// remove removes w, and reports whether it was waiting.
func (q *fairQueue) remove(w *waiter) bool {
	i := q.issuer(w.issuer)
	if i == nil {
		return false
	}
	p := i.peer(w.peer)
	if p == nil {
		return false
	}
	at := slices.Index(p.waiting, w)
	if at < 0 {
		return false
	}
	p.waiting = slices.Delete(p.waiting, at, at+1)
	i.len--
	if len(p.waiting) == 0 {
		i.peers = slices.DeleteFunc(i.peers, func(x *peerQueue) bool { return x == p })
	}
	if i.len == 0 {
		q.issuers = slices.DeleteFunc(q.issuers, func(x *issuerQueue) bool { return x == i })
	}
	return true
}

func (q *fairQueue) issuer(name string) *issuerQueue {
	at := slices.IndexFunc(q.issuers, func(i *issuerQueue) bool { return i.name == name })
	if at < 0 {
		return nil
	}
	return q.issuers[at]
}

func (i *issuerQueue) peer(peer netip.Addr) *peerQueue {
	at := slices.IndexFunc(i.peers, func(p *peerQueue) bool { return p.peer == peer })
	if at < 0 {
		return nil
	}
	return i.peers[at]
}
