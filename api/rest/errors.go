package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/internal/truncate"
	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

// failure is an error and the answer that the client gets.
type failure struct {
	status int
	public string
	cause  error          // for the log
	retry  time.Duration  // of 503: the Retry-After header; 0 means retryTime
	report *ingest.Report // of a submission: what was stored and rejected
	counts *batchCounts   // of a submission that asked for them

	overload bool   // the service is well, but has too much to do
	kind     string // of a query in PromQL: Prometheus' type of the error
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.public
	}
	return f.public + ": " + f.cause.Error()
}

// isOverload reports whether the only cause is that too many tokens wait to be verified or too many
// queries to run. Clients
// decide how often that happens, so it is not logged as a warning.
func isOverload(err error) bool {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return false
	}
	_, ok = errors.AsType[*auth.Overloaded](f.cause)
	return ok || f.overload
}

// statusGone is the status of a request whose client did not wait for the answer. Only the log and
// the counters see it.
const statusGone = 499

const (
	retryTime = 5 * time.Second // after which a client may try again
	internal  = "internal error"
)

// badRequest returns a failure with status 400. A long text, which may quote the request, is cut.
func badRequest(format string, args ...any) *failure {
	text := truncate.Text(fmt.Sprintf(format, args...), 500)
	return &failure{status: http.StatusBadRequest, public: text}
}

// tooLarge returns a failure with status 413. It names the key that sets the limit, if one does.
func (h *Handler) tooLarge(limit int64) *failure {
	text := fmt.Sprintf("the body is larger than %d bytes", limit)
	if limit == h.Limits.BodyBytes {
		text += "; send less at once, or set limits.body-bytes to accept larger requests"
	}
	return &failure{status: http.StatusRequestEntityTooLarge, public: text}
}

// overloaded returns a failure with status 503, which clients decide how often they get, so that it
// is not logged as a warning.
func overloaded(format string, args ...any) *failure {
	return &failure{status: http.StatusServiceUnavailable, public: fmt.Sprintf(format, args...), retry: time.Second, overload: true}
}

func notReady(why error) *failure {
	return &failure{status: http.StatusServiceUnavailable, public: "not ready: " + why.Error()}
}

// unreadable classifies an error of reading from the client. It does not wrap the cause, so that no
// reader takes a lost connection for the end of the body.
func unreadable(cause error) *failure {
	if errors.Is(cause, os.ErrDeadlineExceeded) {
		return &failure{status: http.StatusRequestTimeout, public: "the body arrived too slowly", cause: cause}
	}
	return &failure{status: http.StatusBadRequest, public: "the body is incomplete", cause: cause}
}

// unavailable classifies an error of storing or freeing samples.
func unavailable(cause error) *failure {
	f := &failure{status: http.StatusServiceUnavailable, cause: cause}
	switch {
	case errors.Is(cause, context.Canceled):
		f.status, f.public = statusGone, "the client disconnected"
	case errors.Is(cause, memstore.ErrMemory):
		f.public = "the memory for samples is full"
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EDQUOT):
		f.public = "the disk is full"
	case isOutOfDescriptors(cause):
		f.public = "no file descriptor is left"
	case errors.Is(cause, syscall.EROFS):
		f.public = "the file system is read-only; only queries are answered"
	case errors.Is(cause, fs.ErrPermission):
		f.public = "the server has no permission to write to its directory; only queries are answered"
	case errors.Is(cause, syscall.EIO):
		f.public = "the disk cannot be written"
	default:
		f.public = "the store cannot be written"
	}
	return f
}

// classify returns the failure for an error. All statuses of errors are decided here.
func classify(err error) *failure {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if refusal, ok := errors.AsType[*auth.Refusal](err); ok {
		return &failure{status: http.StatusUnauthorized, public: refusal.Public(), cause: refusal}
	}
	if denied, ok := errors.AsType[*auth.Denied](err); ok {
		return &failure{status: http.StatusForbidden, public: denied.Public(), cause: denied}
	}
	if overloaded, ok := errors.AsType[*auth.Overloaded](err); ok {
		return &failure{
			status: http.StatusServiceUnavailable, public: overloaded.Public(), cause: overloaded, retry: overloaded.RetryAfter,
		}
	}
	if p, ok := errors.AsType[*prometheus.Error](err); ok {
		return &failure{status: p.Status, public: p.Public, kind: p.Type, cause: p.Cause, overload: p.Type == "unavailable"}
	}
	switch {
	case errors.Is(err, memstore.ErrNotFound):
		return &failure{status: http.StatusNotFound, public: memstore.ErrNotFound.Error()}
	case errors.Is(err, context.Canceled):
		return &failure{status: statusGone, public: "the client disconnected", cause: err}
	default:
		return &failure{status: http.StatusInternalServerError, public: internal, cause: err}
	}
}

// entryError returns the text for an error of one selection within a query's answer. gone reports
// that the request itself has ended instead.
func entryError(err error) (text string, gone bool) {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "", true
	case errors.Is(err, memstore.ErrUnknownMetric), errors.Is(err, memstore.ErrRange),
		errors.Is(err, memstore.ErrResolution), errors.Is(err, memstore.ErrAggregation):
		return err.Error(), false
	default:
		return internal, false
	}
}

// fail answers an error. If an answer has begun, it aborts the connection or stream, so that no
// client takes a partial answer for a complete one.
func (h *Handler) fail(w http.ResponseWriter, err error) {
	f := classify(err)
	x := exchangeOf(w)
	x.err = f
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	header := w.Header()
	header.Del("Content-Length")
	switch f.status {
	case http.StatusUnauthorized:
		if refusal, ok := errors.AsType[*auth.Refusal](f.cause); ok {
			header.Set("WWW-Authenticate", challenge(refusal))
		}
	case http.StatusForbidden:
		header.Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", retryAfter(cmp.Or(f.retry, retryTime)))
	}
	header.Set("Content-Type", contentJSON)
	w.WriteHeader(f.status)
	_, _ = w.Write(x.dialect.body(f))
}

// write answers a failure outside of an exchange.
func (f *failure) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body())
}

// retryAfter returns the value of the Retry-After header: seconds, rounded up (RFC 9110, section
// 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// body is the JSON body of a failure.
func (f *failure) body() []byte {
	type failureBody struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	var v any = failureBody{http.StatusText(f.status), f.public}
	if f.report != nil {
		v = struct {
			failureBody
			Accepted int               `json:"accepted"`
			Rejected []ingest.Rejected `json:"rejected"`
			*batchCounts
		}{v.(failureBody), f.report.Accepted, append([]ingest.Rejected{}, f.report.Rejected...), f.counts}
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return append(body, '\n')
}
