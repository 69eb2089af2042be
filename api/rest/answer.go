package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const contentJSON = "application/json"

// answerBytes is how much of an answer is buffered before it is sent. net/http makes two writes to
// the connection for each piece, which take as long as formatting some thousand numbers.
const answerBytes = 256 << 10

// answerTime is the time after which less than answerBytes are sent, so that clients see that the
// answer has begun.
const answerTime = 25 * time.Millisecond

// answer is a JSON answer that is sent while it is built. Nothing is sent before answerBytes are
// buffered, answerTime has passed or the answer ends. Until then an error can replace it.
type answer struct {
	buf     []byte
	scratch []float64           // reused for the values of each entry
	w       http.ResponseWriter // nil: everything is kept in buf
	ctx     context.Context
	last    time.Time // when something was sent, or the answer began
	sent    bool
	turn    *turn // nil: none is needed

	tally
	listed bool // the list of the current query has an entry
	began  bool // the list of a query began here
	joins  bool // an entry precedes the first list that began here
}

// tally counts what an answer holds.
type tally struct {
	cost     cost
	answered int      // values
	unknown  []string // metrics
	failed   error    // reason of an entry with an internal error
}

// cost is what was read for a request.
type cost struct{ queries, series, values int }

func (t *tally) add(o tally) {
	t.cost.queries += o.cost.queries
	t.cost.series += o.cost.series
	t.cost.values += o.cost.values
	t.answered += o.answered
	t.unknown = append(t.unknown, o.unknown[:min(len(o.unknown), maxWarnings-len(t.unknown))]...)
	if o.failed != nil {
		t.failed = o.failed
	}
}

// answering calls f to build an answer and sends it. It stops when the client disconnects.
func (h *Handler) answering(w http.ResponseWriter, r *http.Request, f func(*answer) error) error {
	buf := h.buffers.Get().(*[]byte)
	defer h.buffers.Put(buf)
	a := &answer{buf: (*buf)[:0], w: w, ctx: r.Context(), last: time.Now()}
	if err := f(a); err != nil {
		return err
	}
	a.buf = append(a.buf, '\n')
	if !a.sent {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.buf)))
	}
	err := a.send()
	*buf = a.buf
	return err
}

// more sends the buffer if it is time to. It must be called every few kilobytes.
func (a *answer) more() error {
	switch {
	case a.w == nil:
		return a.ctx.Err()
	case len(a.buf) >= answerBytes:
		return a.send()
	case len(a.buf) == 0 || time.Since(a.last) < answerTime:
		return a.ctx.Err()
	}
	if err := a.send(); err != nil {
		return err
	}
	_ = http.NewResponseController(a.w).Flush() // writers of tests cannot
	return nil
}

func (a *answer) send() error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if !a.sent {
		a.w.Header().Set("Content-Type", contentJSON)
	}
	if a.turn != nil { // the client may be slow
		a.turn.leave()
	}
	_, err := a.w.Write(a.buf)
	a.sent, a.last = true, time.Now()
	a.buf = a.buf[:0]
	if a.turn != nil && err == nil {
		err = a.turn.take(a.ctx)
	}
	return err
}

func (a *answer) raw(s string) { a.buf = append(a.buf, s...) }

func (a *answer) string(s string) { a.buf = appendString(a.buf, s) }

func (a *answer) int(v int64) { a.buf = strconv.AppendInt(a.buf, v, 10) }

func (a *answer) float(v float64) { a.buf = appendFloat(a.buf, v) }

// comma appends the separator between two elements of a list, and clears first.
func (a *answer) comma(first *bool) {
	if !*first {
		a.buf = append(a.buf, ',')
	}
	*first = false
}

func appendString(dst []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string fails
	}
	return append(dst, quoted...)
}
