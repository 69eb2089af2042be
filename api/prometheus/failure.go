package prometheus

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/prometheus/promql"

	"github.com/ringstore/ringstore/api/internal/truncate"
)

// Error is why a request fails, in the words of Prometheus' API.
type Error struct {
	Status int    // of the HTTP answer
	Type   string // the member errorType
	Public string // for the client
	Cause  error  // for the log; nil if Public says it all
}

func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Public
	}
	return e.Public + ": " + e.Cause.Error()
}

func (e *Error) Unwrap() error { return e.Cause }

// badData returns the error of a request that cannot be understood.
func badData(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "bad_data", Public: fmt.Sprintf(format, args...)}
}

// maxErrorText is how much is answered of an error that quotes what the client sent, in bytes.
const maxErrorText = 1000

func badParameter(name string, err error) *Error {
	return badData("invalid parameter %q: %s", name, truncate.Text(err.Error(), maxErrorText))
}

// failed returns the error of a query that was understood. An error of reading that the caller did
// not cause is not told to it.
func failed(err error) error {
	var (
		canceled promql.ErrQueryCanceled
		timeout  promql.ErrQueryTimeout
		stored   promql.ErrStorage
	)
	if errors.As(err, &stored) && stored.Err != nil {
		if own := stored.Err; isLimit(own) || errors.Is(own, context.Canceled) || errors.Is(own, context.DeadlineExceeded) {
			err = own
		}
	}
	switch {
	case errors.As(err, &canceled), errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &timeout), errors.Is(err, context.DeadlineExceeded):
		return &Error{Status: http.StatusServiceUnavailable, Type: "timeout", Public: "the query took too long"}
	case isLimit(err):
		return &Error{Status: http.StatusUnprocessableEntity, Type: "execution", Public: truncate.Text(err.Error(), maxErrorText) + ": ask for fewer series or a shorter time range"}
	case errors.As(err, &stored):
		return &Error{Status: http.StatusInternalServerError, Type: "internal", Public: "internal error", Cause: err}
	}
	return &Error{Status: http.StatusUnprocessableEntity, Type: "execution", Public: truncate.Text(err.Error(), maxErrorText)}
}

// isLimit reports whether a query would read or hold too much.
func isLimit(err error) bool {
	var (
		held   promql.ErrTooManySamples
		series promql.ErrTooManySeries
		read   promql.ErrTooManySamplesRead
	)
	return errors.As(err, &held) || errors.As(err, &series) || errors.As(err, &read)
}
