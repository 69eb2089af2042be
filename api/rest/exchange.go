package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/auth"
)

// exchange is one request and its answer: it notes what is answered, for the
// log and the counters, and gives the client time for as long as it moves on.
type exchange struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	start   time.Time
	id      string
	route   string
	body    *steadyBody // nil if there is none
	status  int         // 0 until the answer's header is out
	bytes   int64       // of the answer's body
	values  int         // of series in it
	err     error       // why it failed, for the log
	influx  influx      // whose API it is a part of

	// stream says that the exchange is one of several on a connection (HTTP/2): a
	// deadline that passes ends it, even if nothing is being read or written then.
	stream bool

	principal *auth.Principal // nil where nobody is known
	request   *request        // what a query asks for, once it is known
}

// begin starts an exchange. It returns a request of its own, whose body is read
// with deadlines: net/http looks at the body of the other one when we are done.
func (h *Handler) begin(w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	x := &exchange{
		ResponseWriter: w,
		control:        http.NewResponseController(w),
		stall:          h.Stall,
		start:          time.Now(),
		id:             requestID(r.Header.Get("X-Request-Id")),
		route:          "none",
		stream:         r.ProtoMajor > 1,
	}
	w.Header().Set("X-Request-Id", x.id)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if !x.stream {
		x.extendWrite()
	}
	if r.Body != nil && r.Body != http.NoBody {
		if !x.stream {
			_ = x.control.SetReadDeadline(x.start.Add(x.stall))
		}
		x.body = &steadyBody{ReadCloser: r.Body, control: x.control, stall: x.stall, stream: x.stream}
		r = r.WithContext(r.Context())
		r.Body = x.body
	}
	return x, r
}

// requestID takes the client's id if it is fit for a log line.
func requestID(given string) string {
	if given == "" || len(given) > 64 {
		return uuid.NewString()
	}
	for _, c := range []byte(given) {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.') {
			return uuid.NewString()
		}
	}
	return given
}

func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
	}
	x.ResponseWriter.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	x.extendWrite()
	n, err := x.ResponseWriter.Write(b)
	if x.stream {
		_ = x.control.SetWriteDeadline(time.Time{})
	}
	x.bytes += int64(n)
	return n, err
}

// Unwrap is for [http.ResponseController].
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// extendWrite gives the client time to take what comes next. Writers that know
// no deadlines, as those of tests, have none to extend.
func (x *exchange) extendWrite() {
	_ = x.control.SetWriteDeadline(time.Now().Add(x.stall))
}

// exchangeOf finds the exchange below a compressing writer.
func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		if x, ok := w.(*exchange); ok {
			return x
		}
		w = w.(interface{ Unwrap() http.ResponseWriter }).Unwrap()
	}
}

// end closes an exchange, be it by a panic: the client gets a 500, or a broken
// answer where one had begun, and never one that only looks complete.
func (h *Handler) end(x *exchange, r *http.Request) {
	panicked := recover()
	aborted := panicked == http.ErrAbortHandler
	if panicked != nil && !aborted {
		h.Log.LogAttrs(r.Context(), slog.LevelError, "panic", slog.String("id", x.id), slog.String("route", x.route),
			slog.String("panic", fmt.Sprint(panicked)), slog.String("stack", string(debug.Stack())))
		if aborted = x.status != 0; !aborted {
			h.fail(x, errors.New("panic"))
		}
	}
	x.leave()
	h.record(r, x, aborted)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// leave gives net/http its time: for what it still holds of the answer, and
// before that for what nobody has read of the body.
func (x *exchange) leave() {
	x.extendWrite()
	if x.body != nil && !x.body.ended {
		_ = x.control.SetReadDeadline(time.Now().Add(x.stall / 2))
	}
}

// record counts an exchange and writes its log line.
func (h *Handler) record(r *http.Request, x *exchange, aborted bool) {
	took := time.Since(x.start)
	canceled := x.status == statusGone || aborted && r.Context().Err() != nil
	h.counters.count(x, canceled, aborted, took)
	level := slog.LevelDebug
	if x.status >= http.StatusInternalServerError && !isOverload(x.err) {
		level = slog.LevelWarn
	}
	ctx := context.WithoutCancel(r.Context())
	h.logSlow(ctx, r, x, took)
	if !h.Log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", x.id),
		slog.String("method", r.Method),
		slog.String("route", x.route),
		slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes),
		slog.Duration("took", took),
		slog.String("peer", peer(r).String()),
	}
	if x.err != nil {
		attrs = append(attrs, slog.String("error", x.err.Error()))
	}
	if aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	h.Log.LogAttrs(ctx, level, "request", attrs...)
}

// peer returns the client's address; proxies' headers prove nothing.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// leastRate is how many bytes a second a client has to send on average, when a
// first stall is forgiven.
const leastRate = 1 << 10

// steadyBody reads a request's body for as long as bytes arrive: each read may
// wait for the stall, all together for the stall and what leastRate allows.
// Time that passes between reads is ours and not counted.
type steadyBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
	waited  time.Duration
	read    int64
	ended   bool
	stream  bool
}

func (b *steadyBody) Read(p []byte) (int, error) {
	begin := time.Now()
	left := b.stall + time.Duration(b.read/leastRate)*time.Second - b.waited
	_ = b.control.SetReadDeadline(begin.Add(min(left, b.stall)))
	n, err := b.ReadCloser.Read(p)
	if b.stream {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	b.waited += time.Since(begin)
	b.read += int64(n)
	if errors.Is(err, io.EOF) { // net/http lifts the deadline
		b.ended = true
	}
	return n, err
}
