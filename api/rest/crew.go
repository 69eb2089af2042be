package rest

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/memstore"
)

// The entries of a large answer are read on several cores. The goroutine of the request divides the
// steps into pieces and sends them in order. Helpers take pieces ahead of it and keep their text
// until it is their turn. Whenever the piece whose turn it is, or any other, waits for somebody to
// read it, the goroutine of the request does so itself; it needs no helper to make progress.
const (
	// aloneTime is how long a request works without helpers. Most are finished by then.
	aloneTime = 2 * time.Millisecond
	// helperTime is how long a helper works before it ends and another one may start. In between,
	// the runtime looks for connections with something to read, which it does not do while all
	// threads are busy: other requests would wait for 10 ms.
	helperTime = time.Millisecond
	// pieceTime and pieceSteps bound a piece, and thus the time until a helper ends.
	pieceTime  = 250 * time.Microsecond
	pieceSteps = 256
	// pieceBytes bounds the text that a helper keeps, and entryValues the values that it formats at
	// once. What exceeds them is left to the goroutine of the request, which need not keep it.
	pieceBytes  = 256 << 10
	entryValues = 16 << 10
)

// piece is a run of consecutive steps.
type piece struct {
	steps []step
	taken atomic.Bool   // somebody reads it
	done  chan struct{} // closed when it is read

	out      *answer
	finished int            // steps whose entries are in out
	data     *memstore.Data // of the next step, if it was too large
	err      error
	panicked any
}

// crew answers one request. Its methods are for the goroutine of the request unless they say
// otherwise.
type crew struct {
	h      *Handler
	req    *request
	a      *answer
	ctx    context.Context
	cancel context.CancelFunc

	next  []step   // of the next piece
	size  int      // steps per piece
	queue []*piece // not yet sent, in order
	work  chan *piece

	helpers atomic.Int32
	wait    sync.WaitGroup
	readers chan *access.Reader // for helpers; each is used by one at a time
	spare   chan *answer
}

// results appends the lists of all queries.
func (h *Handler) results(a *answer, req *request) (err error) {
	var c *crew
	begin := time.Now()
	for s := range req.steps() {
		if c == nil && time.Since(begin) >= h.alone {
			c = h.newCrew(a, req)
			defer c.close()
			if err := a.turn.take(c.ctx); err != nil {
				return err
			}
		}
		if c != nil {
			err = c.add(s)
		} else {
			err = a.step(req.reader, req, &s)
		}
		if err != nil {
			return err
		}
	}
	if c != nil {
		return c.finish()
	}
	return nil
}

func (h *Handler) newCrew(a *answer, req *request) *crew {
	window := 2*runtime.GOMAXPROCS(0) + 2
	c := &crew{
		h: h, req: req, a: a, size: 1,
		work:    make(chan *piece, window),
		readers: make(chan *access.Reader, window),
		spare:   make(chan *answer, window),
	}
	c.ctx, c.cancel = context.WithCancel(a.ctx)
	h.large.Add(1)
	a.turn = &turn{h: h}
	return c
}

// close stops the helpers and waits for them.
func (c *crew) close() {
	c.cancel()
	c.wait.Wait()
	c.a.turn.leave()
	c.a.turn = nil
	c.h.large.Add(-1)
}

// add adds a step. It works on earlier ones if there are many.
func (c *crew) add(s step) error {
	if c.next = append(c.next, s); len(c.next) < c.size {
		return nil
	}
	c.dispatch()
	for len(c.queue) >= cap(c.work) {
		if err := c.advance(); err != nil {
			return err
		}
	}
	return nil
}

// finish works until all steps are sent.
func (c *crew) finish() error {
	if len(c.next) > 0 {
		c.dispatch()
	}
	for len(c.queue) > 0 {
		if err := c.advance(); err != nil {
			return err
		}
	}
	return nil
}

// dispatch makes the collected steps a piece.
func (c *crew) dispatch() {
	p := &piece{steps: c.next, done: make(chan struct{})}
	c.next = make([]step, 0, c.size)
	c.queue = append(c.queue, p)
	select {
	case c.work <- p:
	default: // full of pieces that were taken already
	}
	c.hire()
}

// hire starts helpers if cores are free.
func (c *crew) hire() {
	for len(c.work) > int(c.helpers.Load()) && c.h.mayHelp() {
		c.helpers.Add(1)
		c.wait.Go(func() {
			defer c.h.helpers.Add(-1)
			defer c.helpers.Add(-1)
			c.help()
		})
	}
}

// mayHelp counts a further helper if there is a core for it. Requests that are not large need the
// cores first.
func (h *Handler) mayHelp() bool {
	small := h.active.Load() - h.large.Load()
	if h.helpers.Add(1)+int32(len(h.turns))+small <= int32(runtime.GOMAXPROCS(0)) {
		return true
	}
	h.helpers.Add(-1)
	return false
}

// help reads pieces. It runs in a goroutine of its own.
func (c *crew) help() {
	var reader *access.Reader
	select {
	case reader = <-c.readers:
	default:
		reader = c.req.reader.Fork()
	}
	defer func() { c.readers <- reader }()
	for begin := time.Now(); time.Since(begin) < helperTime && c.ctx.Err() == nil; {
		select {
		case p := <-c.work:
			if p.taken.CompareAndSwap(false, true) {
				c.read(p, reader)
			}
		default:
			return
		}
	}
}

// advance sends the first piece of the queue, or reads another one while a helper reads that.
func (c *crew) advance() error {
	p := c.queue[0]
	if p.taken.CompareAndSwap(false, true) {
		c.queue = c.queue[1:]
		return c.sendSteps(p.steps)
	}
	select {
	case <-p.done:
		c.queue = c.queue[1:]
		return c.send(p)
	default:
	}
	for _, other := range c.queue[1:] {
		if other.taken.CompareAndSwap(false, true) {
			c.read(other, c.req.reader)
			return c.ctx.Err()
		}
	}
	select {
	case <-p.done:
		return nil
	case <-c.ctx.Done():
		return c.ctx.Err()
	}
}

// sendSteps reads and sends steps whose turn it is.
func (c *crew) sendSteps(steps []step) error {
	begin, size := time.Now(), len(c.a.buf)
	for i := range steps {
		if err := c.a.turn.pass(c.ctx); err != nil {
			return err
		}
		if err := c.a.step(c.req.reader, c.req, &steps[i]); err != nil {
			return err
		}
		c.hire()
	}
	c.resize(len(steps), time.Since(begin), len(c.a.buf)-size)
	return nil
}

// resize adapts the size of pieces to what some steps took.
func (c *crew) resize(steps int, took time.Duration, bytes int) {
	if steps == 0 {
		return
	}
	each := max(took/time.Duration(steps), 1)
	c.size = min(max(1, int(pieceTime/each)), 2*c.size, pieceSteps)
	if bytes > 0 {
		c.size = max(1, min(c.size, pieceBytes/2/max(1, bytes/steps)))
	}
}

// read reads a piece into memory. Any goroutine may call it.
func (c *crew) read(p *piece, reader *access.Reader) {
	defer close(p.done)
	defer func() {
		if r := recover(); r != nil {
			p.panicked = fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
	}()
	select {
	case p.out = <-c.spare:
	default:
		p.out = &answer{ctx: c.ctx}
	}
	for i := range p.steps {
		if len(p.out.buf) >= pieceBytes {
			return
		}
		data, err := p.out.read(reader, c.req, &p.steps[i])
		if len(data.Values) > entryValues {
			p.data = new(data)
			return
		}
		if p.err = p.out.finish(c.req, &p.steps[i], data, err); p.err != nil {
			return
		}
		p.finished++
	}
}

// send sends a piece that was read.
func (c *crew) send(p *piece) error {
	if p.panicked != nil {
		panic(p.panicked)
	}
	a, out := c.a, p.out
	if out.joins && a.listed {
		a.raw(",")
	}
	a.buf = append(a.buf, out.buf...)
	a.add(out.tally)
	a.listed = out.listed || !out.began && a.listed
	if p.err != nil {
		return p.err
	}
	if err := a.more(); err != nil {
		return err
	}
	rest := p.steps[p.finished:]
	if p.data != nil {
		scratch := a.scratch
		if err := a.finish(c.req, &rest[0], *p.data, nil); err != nil {
			return err
		}
		out.scratch, rest = scratch, rest[1:] // a has that of the data
	}
	out.buf, out.tally = out.buf[:0], tally{}
	out.listed, out.began, out.joins = false, false, false
	select {
	case c.spare <- out:
	default:
	}
	return c.sendSteps(rest)
}
