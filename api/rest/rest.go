// Package rest is the HTTP door: it turns requests into calls of the store and
// of package ingest, and what these answer into JSON. The paths, bodies and
// answers are those of cc-metric-store 1.5.4.
//
// It adapts and decides nothing: who may do what is package auth's, what a line
// means is package ingest's, what a query means the store's. It knows neither
// the configuration file nor how samples are kept; cmd puts all of it together.
package rest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/memstore"
)

// Reader is what questions are put to; [memstore.Store] is one.
type Reader interface {
	Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error)
	Points(cluster, host, metric string, r memstore.Range) int
	Clusters() []string
	Hosts(cluster string) []string
	Tree(path []string) (*memstore.Level, error)
	Health(cluster, host string, metrics []string) memstore.Health
	Holds(cluster, host string, visible memstore.Visibility) (bool, error)
}

// Freer forgets samples: the slots at or before to (Unix seconds) in the
// subtree that path names, as [memstore.Store.Free] reads it. It returns how
// many series lost some. An error means that it is not known to be done.
type Freer interface {
	Free(ctx context.Context, path [][]string, to int64) (int, error)
}

// Ingester stores line protocol; [ingest.Ingester] is one.
type Ingester interface {
	Stream(ctx context.Context, src ingest.Source, r io.Reader) (ingest.Report, error)
}

// Options of a [Handler]. Store, Freer and Ingester are required, and an
// Authenticator unless AuthDisabled is set.
type Options struct {
	Store    Reader
	Freer    Freer
	Ingester Ingester

	Authenticator auth.Authenticator
	Policy        auth.Policy
	Audit         *auth.Audit // of refusals; nil means none
	AuthDisabled  bool        // everybody is admin, but profiles are for loopback peers

	// Jobs knows whose jobs ran where; nil means that nobody does. SharedNodeMetrics
	// shows metrics of a node as a whole to all who have a job there.
	Jobs              *jobs.Index
	SharedNodeMetrics bool

	// Ready returns why requests cannot be answered yet, in words for clients,
	// or nil. A nil Ready means always.
	Ready func() error
	// Writable returns why samples cannot be taken now although queries are
	// answered, or nil; its errors are those of the Ingester. A nil Writable means
	// that they always can.
	Writable func() error
	// Notes returns what a person should know of a service that is ready. A nil
	// Notes means nothing.
	Notes func() []string

	// Operator answers /api/status and /api/snapshot; without one there are no such
	// paths.
	Operator Operator

	// SwaggerUI serves a user interface for the description of all paths at
	// /swagger/, to everybody.
	SwaggerUI bool

	Limits Limits
	Gzip   bool          // compress answers for clients that accept it
	Stall  time.Duration // how long a client may neither send nor take a byte; 0 means 30 s

	SlowQuery time.Duration // queries that take as long are logged as warnings; 0 means none

	Registry *prometheus.Registry // what /metrics shows; nil means one of its own
	Log      *slog.Logger         // nil means none
}

// Limits bound what one request may cost. Zero means the default.
type Limits struct {
	BodyBytes      int64 // of a submission, after decompression; default 64 MiB
	ValuesPerQuery int   // read for one query request; default 20 million
}

const (
	defaultBodyBytes      = 64 << 20
	defaultValuesPerQuery = 20_000_000
	defaultStall          = 30 * time.Second
)

// Handler answers all paths of the service. It is safe for concurrent use.
type Handler struct {
	Options
	gate     *access.Gate
	router   http.Handler
	counters counters
	buffers  sync.Pool // of *[]byte, for answers
	gunzips  sync.Pool // of *gzip.Reader
}

// New returns a handler. The error says which option is missing or cannot be.
func New(o Options) (*Handler, error) {
	if o.Store == nil || o.Freer == nil || o.Ingester == nil {
		return nil, errors.New("rest: Store, Freer and Ingester are required")
	}
	if o.Authenticator == nil && !o.AuthDisabled {
		return nil, errors.New("rest: an Authenticator is required, or AuthDisabled")
	}
	if o.Ready == nil {
		o.Ready = func() error { return nil }
	}
	if o.Writable == nil {
		o.Writable = func() error { return nil }
	}
	if o.Notes == nil {
		o.Notes = func() []string { return nil }
	}
	if o.Limits.BodyBytes == 0 {
		o.Limits.BodyBytes = defaultBodyBytes
	}
	if o.Limits.ValuesPerQuery == 0 {
		o.Limits.ValuesPerQuery = defaultValuesPerQuery
	}
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		Options: o,
		buffers: sync.Pool{New: func() any { return new([]byte) }},
		gunzips: sync.Pool{New: func() any { return new(gzip.Reader) }},
	}
	var err error
	if h.gate, err = access.New(access.Options{
		Store: o.Store, Policy: o.Policy, Jobs: o.Jobs, SharedNodeMetrics: o.SharedNodeMetrics,
	}); err != nil {
		return nil, err
	}
	if h.counters, err = newCounters(o.Registry); err != nil {
		return nil, err
	}
	if h.router, err = h.newRouter(); err != nil {
		return nil, err
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, r := h.begin(w, r)
	defer h.end(x, r)
	if err := h.Ready(); err != nil && !isHealthy(r) {
		h.fail(x, notReady(err))
		return
	}
	h.router.ServeHTTP(x, r)
}
