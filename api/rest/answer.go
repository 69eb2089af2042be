package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
)

const contentJSON = "application/json"

// answerBytes is how much of an answer is buffered before it is sent. net/http makes two writes to
// the connection for each piece, which take as long as formatting some thousand numbers.
const answerBytes = 256 << 10

// answer is a JSON answer that is sent while it is built. Nothing is sent before answerBytes are
// buffered or the answer ends. Until then an error can replace it.
type answer struct {
	buf     []byte
	scratch []float64 // reused for the values of each entry
	w       http.ResponseWriter
	ctx     context.Context
	sent    bool
}

// answering calls f to build an answer and sends it. It stops when the client disconnects.
func (h *Handler) answering(w http.ResponseWriter, r *http.Request, f func(*answer) error) error {
	buf := h.buffers.Get().(*[]byte)
	defer h.buffers.Put(buf)
	a := &answer{buf: (*buf)[:0], w: w, ctx: r.Context()}
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

// more sends the buffer if it holds at least answerBytes. It must be called every few kilobytes.
func (a *answer) more() error {
	if len(a.buf) < answerBytes {
		return a.ctx.Err()
	}
	return a.send()
}

func (a *answer) send() error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	if !a.sent {
		a.w.Header().Set("Content-Type", contentJSON)
	}
	a.sent = true
	_, err := a.w.Write(a.buf)
	a.buf = a.buf[:0]
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
