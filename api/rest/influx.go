package rest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/lineprotocol"
)

// influxPrecisions are the values of the parameter precision, of both versions. Without it the unit
// of a timestamp follows from its size. For every time since 1973 that agrees with the default of
// both versions, nanoseconds.
var influxPrecisions = map[string]time.Duration{
	"":  0,
	"n": time.Nanosecond, "ns": time.Nanosecond,
	"u": time.Microsecond, "us": time.Microsecond,
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
}

// influxWrite answers InfluxDB's write paths. The database or bucket is the cluster of lines that
// name none. 204 means that every line was stored.
func (h *Handler) influxWrite(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	unit, known := influxPrecisions[query.Get("precision")]
	if !known {
		return badRequest("precision: expected n, ns, u, us, ms, s, m or h")
	}
	target := query.Get("db")
	if exchangeOf(w).dialect == influx2 {
		target = query.Get("bucket")
	}
	cluster, _, _ := strings.Cut(target, "/") // a retention policy follows
	return h.submit(w, r, http.StatusNoContent, ingest.Source{
		Cluster:   cluster,
		Transport: transport,
		Dialect:   lineprotocol.Dialect{EachField: true, Unit: unit},
	})
}

// rejected returns the rejected lines in their order, each once per reason. For a failure that the
// client should retry it returns none: Telegraf's outputs.influxdb treats "partial write" as final
// at any status, and would drop the batch.
func (f *failure) rejected() []ingest.Rejected {
	if f.report == nil || f.status >= http.StatusInternalServerError {
		return nil
	}
	return slices.Compact(slices.Clone(f.report.Rejected))
}

// influxMessage puts the rejected lines of our own error body into one sentence.
func (f *failure) influxMessage() string {
	const maxListed = 5
	rejected := f.rejected()
	if len(rejected) == 0 {
		return f.public
	}
	var message strings.Builder
	message.WriteString("partial write: " + f.public)
	for _, r := range rejected[:min(maxListed, len(rejected))] {
		fmt.Fprintf(&message, "; line %d: %s", r.Line, r.Reason)
	}
	return message.String()
}

// firstLine returns the number of the first rejected line, or 0.
func (f *failure) firstLine() int {
	for _, r := range f.rejected() {
		return r.Line
	}
	return 0
}

// influxCode returns InfluxDB's code for a status.
func influxCode(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "invalid"
	case http.StatusInternalServerError:
		return "internal error"
	case http.StatusRequestEntityTooLarge:
		return "request too large"
	case http.StatusServiceUnavailable:
		return "unavailable"
	default:
		return strings.ToLower(http.StatusText(status))
	}
}
