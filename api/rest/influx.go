package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/lineprotocol"
)

// influx is an API of InfluxDB, by its version; 0 is none of them. Telegraf and
// InfluxDB's client libraries write to it as if we were one
// (https://docs.influxdata.com/influxdb/v1/tools/api/ and .../v2/api/).
type influx int

const (
	notInflux influx = iota
	influx1          // /write
	influx2          // /api/v2/write
)

// influxUnits are the values of the parameter precision, of either version.
// Without it timestamps tell their unit by their size, which is that of the
// versions' default, nanoseconds, for every moment since 1973.
var influxUnits = map[string]time.Duration{
	"":  0,
	"n": time.Nanosecond, "ns": time.Nanosecond,
	"u": time.Microsecond, "us": time.Microsecond,
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour,
}

// influxWrite answers the paths of InfluxDB for writing. The database or bucket
// is the cluster of lines that name none; 204 says that every line is stored.
func (h *Handler) influxWrite(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	unit, known := influxUnits[query.Get("precision")]
	if !known {
		return badRequest("precision: n, ns, u, us, ms, s, m or h is wanted")
	}
	place := query.Get("db")
	if exchangeOf(w).influx == influx2 {
		place = query.Get("bucket")
	}
	cluster, _, _ := strings.Cut(place, "/") // what follows is a retention policy
	return h.submit(w, r, http.StatusNoContent, ingest.Source{
		Cluster:   cluster,
		Transport: transport,
		Dialect:   lineprotocol.Dialect{EachField: true, Unit: unit},
	})
}

// authorization makes a bearer token of what clients of InfluxDB send: the
// scheme Token, or a password. One in the URL is refused, as URLs end up in logs.
func (v influx) authorization(r *http.Request) (*http.Request, error) {
	if v == notInflux {
		return r, nil
	}
	for _, name := range []string{"u", "p", "token"} {
		if r.URL.Query().Has(name) {
			return nil, badRequest("a token in the URL would end up in logs: send it as a header, Authorization: Token ...")
		}
	}
	r = r.Clone(r.Context())
	if _, password, ok := r.BasicAuth(); ok {
		r.Header.Set("Authorization", "Bearer "+password)
	}
	const scheme = "Token "
	for i, value := range r.Header["Authorization"] {
		if len(value) > len(scheme) && strings.EqualFold(value[:len(scheme)], scheme) {
			r.Header["Authorization"][i] = "Bearer " + value[len(scheme):]
		}
	}
	return r, nil
}

// body is the JSON that tells a client of a failure, in its API's words.
func (v influx) body(f *failure) []byte {
	var told any
	switch v {
	case notInflux:
		return f.body()
	case influx1:
		told = struct {
			Error string `json:"error"`
		}{f.influxMessage()}
	case influx2:
		told = struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Line    int    `json:"line,omitempty"`
		}{influxCode(f.status), f.influxMessage(), f.firstLine()}
	}
	body, err := json.Marshal(told)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return append(body, '\n')
}

// rejected returns the lines that were not stored in their order, each once for a
// reason. Where the client shall come again it returns none: Telegraf's
// outputs.influxdb takes "partial write" for final, whatever the status, and would
// drop a batch that it should keep.
func (f *failure) rejected() []ingest.Rejected {
	if f.report == nil || f.status >= http.StatusInternalServerError {
		return nil
	}
	return slices.Compact(slices.SortedStableFunc(slices.Values(f.report.Rejected), func(a, b ingest.Rejected) int { return a.Line - b.Line }))
}

// influxMessage has in one sentence what our own answer lists.
func (f *failure) influxMessage() string {
	const most = 5
	rejected := f.rejected()
	if len(rejected) == 0 {
		return f.public
	}
	var message strings.Builder
	message.WriteString("partial write: " + f.public)
	for _, r := range rejected[:min(most, len(rejected))] {
		fmt.Fprintf(&message, "; line %d: %s", r.Line, r.Reason)
	}
	return message.String()
}

// firstLine is that of the lines that were not stored, 0 if there are none.
func (f *failure) firstLine() int {
	for _, r := range f.rejected() {
		return r.Line
	}
	return 0
}

// influxCode words a status as InfluxDB does.
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
