package rest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/internal/truncate"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore"
)

// failure is an error with what the client is told of it.
type failure struct {
	status int
	public string
	cause  error          // for the log
	retry  time.Duration  // of 503: when to come again; 0 means retryTime
	report *ingest.Report // of a submission: what became of it nevertheless
}

func (f *failure) Error() string {
	if f.cause == nil {
		return f.public
	}
	return f.public + ": " + f.cause.Error()
}

// isOverload tells whether nothing failed but that there are too many tokens to
// verify: whoever sends them decides how often, so it is no news for the log.
func isOverload(err error) bool {
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return false
	}
	_, ok = errors.AsType[*auth.Overloaded](f.cause)
	return ok
}

// statusGone is for a client that did not wait for its answer; only the log
// and the counters see it.
const statusGone = 499

const (
	retryTime = 5 * time.Second // after which a client may try again
	internal  = "internal error"
)

// badRequest may quote what came in; only its beginning, should that be long.
func badRequest(format string, args ...any) *failure {
	text := truncate.Text(fmt.Sprintf(format, args...), 500)
	return &failure{status: http.StatusBadRequest, public: text}
}

func tooLarge(limit int64) *failure {
	return &failure{status: http.StatusRequestEntityTooLarge, public: fmt.Sprintf("the body is larger than %d bytes", limit)}
}

func notReady(why error) *failure {
	return &failure{status: http.StatusServiceUnavailable, public: "not ready: " + why.Error()}
}

// unreadable classes what went wrong between us and the client. It does not
// wrap the cause: who reads the body must not take a lost client for its end.
func unreadable(cause error) *failure {
	if errors.Is(cause, os.ErrDeadlineExceeded) {
		return &failure{status: http.StatusRequestTimeout, public: "the body came too slowly", cause: cause}
	}
	return &failure{status: http.StatusBadRequest, public: "the body broke off", cause: cause}
}

// unavailable classes what kept the store from taking or freeing samples.
func unavailable(cause error) *failure {
	f := &failure{status: http.StatusServiceUnavailable, cause: cause}
	switch {
	case errors.Is(cause, context.Canceled):
		f.status, f.public = statusGone, "the client went away"
	case errors.Is(cause, memstore.ErrMemory):
		f.public = "the memory for samples is full"
	case errors.Is(cause, syscall.ENOSPC), errors.Is(cause, syscall.EDQUOT):
		f.public = "the disk is full"
	case errors.Is(cause, syscall.EIO), errors.Is(cause, syscall.EROFS):
		f.public = "the disk cannot be written"
	default:
		f.public = "the store cannot be written"
	}
	return f
}

// classify is the one place where errors become statuses.
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
	switch {
	case errors.Is(err, memstore.ErrNotFound):
		return &failure{status: http.StatusNotFound, public: memstore.ErrNotFound.Error()}
	case errors.Is(err, context.Canceled):
		return &failure{status: statusGone, public: "the client went away", cause: err}
	default:
		return &failure{status: http.StatusInternalServerError, public: internal, cause: err}
	}
}

// entryError words an error of one selection of a query, within an answer.
// gone says that it is none of that but the end of the request.
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

// fail answers an error. Where an answer has begun it breaks it off, so that
// nobody takes the part for the whole.
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
			header.Set("WWW-Authenticate", challenge(refusal.Code))
		}
	case http.StatusForbidden:
		header.Set("WWW-Authenticate", `Bearer error="insufficient_scope"`)
	case http.StatusServiceUnavailable:
		header.Set("Retry-After", retryAfter(cmp.Or(f.retry, retryTime)))
	}
	header.Set("Content-Type", contentJSON)
	w.WriteHeader(f.status)
	_, _ = w.Write(x.influx.body(f))
}

// write answers a failure outside of an exchange.
func (f *failure) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", contentJSON)
	w.WriteHeader(f.status)
	_, _ = w.Write(f.body())
}

// retryAfter is the header of that name: whole seconds, never before the time
// (RFC 9110, section 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}

// body is the JSON that tells a client of the failure.
func (f *failure) body() []byte {
	type told struct {
		Status string `json:"status"`
		Error  string `json:"error"`
	}
	var v any = told{http.StatusText(f.status), f.public}
	if f.report != nil {
		v = struct {
			told
			Accepted int               `json:"accepted"`
			Rejected []ingest.Rejected `json:"rejected"`
		}{v.(told), f.report.Accepted, append([]ingest.Rejected{}, f.report.Rejected...)}
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return append(body, '\n')
}
