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

// exchange is one request and its answer. It records the answer for the log and the counters, and
// extends the deadlines while the client keeps reading or sending.
type exchange struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	start   time.Time
	id      string
	route   string
	body    *stallTimeoutBody // nil if there is none
	status  int               // 0 until the header is sent
	bytes   int64             // of the answer's body
	values  int               // of series in it
	err     error             // the reason of a failure, for the log
	dialect dialect           // the API of the route

	// stream means that several exchanges share the connection (HTTP/2). There, a deadline that
	// passes ends the stream even if nothing is being read or written.
	stream bool

	principal *auth.Principal // nil if unknown
	admitted  auth.Action     // that the caller may perform; 0 before that is known
	asked     *asked          // by a query, once it is understood; nil for other requests
}

// begin starts an exchange. It returns a copy of the request whose body is read with deadlines:
// when the handler returns, net/http needs the body of the original.
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
	if r.TLS != nil {
		w.Header().Set("Strict-Transport-Security", "max-age=31536000") // RFC 6797; a year
	}
	if !x.stream {
		x.extendWrite()
	}
	if r.Body != nil && r.Body != http.NoBody {
		if !x.stream {
			_ = x.control.SetReadDeadline(x.start.Add(x.stall))
		}
		x.body = &stallTimeoutBody{ReadCloser: r.Body, control: x.control, stall: x.stall, stream: x.stream}
		r = r.WithContext(r.Context())
		r.Body = x.body
	}
	return x, r
}

// requestID returns the client's id if it is safe for a log line, or a new one.
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

// Unwrap implements the interface that [http.ResponseController] uses.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// extendWrite gives the client time to read the next bytes. Writers without deadlines, such as
// those of tests, ignore it.
func (x *exchange) extendWrite() {
	_ = x.control.SetWriteDeadline(time.Now().Add(x.stall))
}

// unwrapper is what [http.ResponseController] expects of a ResponseWriter around another one.
type unwrapper interface{ Unwrap() http.ResponseWriter }

// exchangeOf returns the exchange of a request, which may be below a compressing writer.
func exchangeOf(w http.ResponseWriter) *exchange {
	for {
		if x, ok := w.(*exchange); ok {
			return x
		}
		w = w.(unwrapper).Unwrap()
	}
}

// end finishes an exchange, also after a panic. The client then gets a 500, or an aborted answer if
// one had begun, and never one that only looks complete.
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
	x.extendDeadlines()
	h.auditPerformed(x, r)
	h.record(r, x, aborted)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// extendDeadlines gives net/http time to discard the unread part of the body and to send the rest
// of the answer.
func (x *exchange) extendDeadlines() {
	x.extendWrite()
	if x.body != nil && !x.body.ended {
		_ = x.control.SetReadDeadline(time.Now().Add(x.stall / 2))
	}
}

// record counts an exchange and logs it.
func (h *Handler) record(r *http.Request, x *exchange, aborted bool) {
	took := time.Since(x.start)
	canceled := x.status == statusGone || aborted && r.Context().Err() != nil
	h.counters.count(x, canceled, aborted, took)
	level := slog.LevelDebug
	if x.status >= http.StatusInternalServerError && !isOverload(x.err) && !isPolled(r) {
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

// peer returns the address of the connection. Headers of proxies are ignored: a client can forge
// them.
func peer(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// minBodyRate is the average rate, in bytes per second, at which a client must send a body. One
// stall is tolerated on top.
const minBodyRate = 1 << 10

// stallTimeoutBody reads the body of a request with deadlines. One read may wait as long as stall;
// all reads together as long as stall plus the time that minBodyRate allows for the bytes read. The
// time between reads is the server's own and does not count.
type stallTimeoutBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration
	waited  time.Duration
	read    int64
	ended   bool
	stream  bool
}

func (b *stallTimeoutBody) Read(p []byte) (int, error) {
	begin := time.Now()
	left := b.stall + time.Duration(b.read/minBodyRate)*time.Second - b.waited
	_ = b.control.SetReadDeadline(begin.Add(min(left, b.stall)))
	n, err := b.ReadCloser.Read(p)
	if b.stream {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	b.waited += time.Since(begin)
	b.read += int64(n)
	if errors.Is(err, io.EOF) { // net/http resets the deadline
		b.ended = true
	}
	return n, err
}
