// Package rest is the HTTP transport. It turns requests into calls of the store and of package
// ingest, and their results into JSON. Paths, bodies and answers are those of cc-metric-store
// 1.5.4.
//
// The package only translates. Package auth decides permissions, package ingest the meaning of a
// line, and the store the meaning of a query. It knows neither the configuration file nor how
// samples are stored; cmd assembles the parts.
package rest

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	promclient "github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/api/explorer"
	"github.com/ringstore/ringstore/api/ingest"
	"github.com/ringstore/ringstore/api/prometheus"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/auth/jobs"
	"github.com/ringstore/ringstore/memstore"
)

// Reader answers queries; [memstore.Store] implements it.
type Reader interface {
	Read(ctx context.Context, sel memstore.Selection, r memstore.Range) (memstore.Data, error)
	Cost(sel memstore.Selection, r memstore.Range) int
	Clusters() []string
	Find(dst []memstore.Found, cluster, host string, keep func(metric string) bool, t memstore.Span, visible memstore.Visibility) ([]memstore.Found, error)
	Hosts(cluster string) []string
	Tree(path []string) (*memstore.Level, error)
	Health(cluster, host string, metrics []string) memstore.Health
	Holds(cluster, host string, visible memstore.Visibility) (bool, error)
}

// Freer deletes samples: the slots at or before to (Unix seconds) in the subtree at path, with the
// semantics of [memstore.Store.Free]. It returns the number of series that lost samples. After an
// error it is unknown whether the samples were deleted.
type Freer interface {
	Free(ctx context.Context, path [][]string, to int64) (int, error)
}

// Ingester stores line protocol and the samples of remote write; [ingest.Ingester] implements it.
type Ingester interface {
	Stream(ctx context.Context, src ingest.Source, r io.Reader) (ingest.Report, error)
	prometheus.Ingester
}

// Options of a [Handler]. Store, Freer and Ingester are required, and an Authenticator unless
// AuthDisabled is set.
type Options struct {
	Store    Reader
	Freer    Freer
	Ingester Ingester

	Authenticator auth.Authenticator
	Policy        auth.Policy
	Audit         *auth.Audit // of refusals; nil means none
	AuthDisabled  bool        // every caller is admin, but profiles are for loopback peers only

	// Jobs knows which user's jobs ran where; nil means that there is no job source. With
	// SharedNodeMetrics, every user with a job on a node sees the metrics of the whole node.
	Jobs              *jobs.Index
	SharedNodeMetrics bool

	// Ready returns nil, or the reason why requests cannot be answered yet, worded for clients. A
	// nil Ready means always ready.
	Ready func() error
	// Writable returns nil, or the reason why samples cannot be stored now although queries are
	// answered. Its errors are classified like those of the Ingester. A nil Writable means always
	// writable.
	Writable func() error
	// Notes returns warnings about a service that is ready, for its administrators. A nil Notes
	// means no warnings.
	Notes func() []string

	// Prometheus answers the API of Prometheus. If it is nil, its paths are not found.
	Prometheus *prometheus.API

	// Operator answers /api/status and /api/snapshot. If it is nil, these paths are not found.
	Operator Operator

	// SeparateAdmin moves the administrators' paths from ServeHTTP, which no longer finds them, to
	// [Handler.ServeAdmin].
	SeparateAdmin bool

	// Explorer is the web page at /. If it is nil, there is none.
	Explorer *explorer.Page

	// SwaggerUI serves a user interface for the API's description at /swagger/, without a token.
	SwaggerUI bool

	Limits Limits
	Gzip   bool          // compress answers for clients that accept it
	Stall  time.Duration // the longest time without a byte sent or read by a client; 0 means 30 s

	SlowQuery time.Duration // queries that take this long are logged as warnings; 0 means none

	Registry *promclient.Registry // served at /metrics; nil means a new one
	Log      *slog.Logger         // nil means none
}

// Limits bound the cost of one request. Zero means the default.
type Limits struct {
	BodyBytes         int64 // of a submission, after decompression; default 64 MiB
	QueriesPerUser    int   // that run at once for one principal of role user or manager; default 4
	QueriesPerService int   // the same for admin, support and api; default 32
	ValuesPerQuery    int   // read for one request; default 50 million, none for admin, support and api
}

const (
	defaultBodyBytes      = 64 << 20
	defaultValuesPerQuery = 50_000_000
	defaultStall          = 30 * time.Second

	defaultQueriesPerUser    = 4
	defaultQueriesPerService = 32
)

// Handler answers all paths of the service. It is safe for concurrent use.
type Handler struct {
	Options
	gate     *access.Gate
	router   http.Handler
	admin    http.Handler // router of ServeAdmin
	counters counters
	buffers  sync.Pool // of *[]byte, for answers
	gunzips  sync.Pool // of *gzip.Reader

	active  atomic.Int32 // requests in progress
	helpers atomic.Int32 // goroutines that work for them in addition to their own
	shares  shares
	turns   chan struct{} // one for each query that works for longer than alone
	waiting atomic.Int32  // queries that wait for a turn
	large   atomic.Int32  // queries that have or wait for a turn
	alone   time.Duration // that a query works without helpers
}

// New returns a handler. The error names a missing or invalid option.
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
	o.Limits.QueriesPerUser = cmp.Or(o.Limits.QueriesPerUser, defaultQueriesPerUser)
	o.Limits.QueriesPerService = cmp.Or(o.Limits.QueriesPerService, defaultQueriesPerService)
	if o.Stall == 0 {
		o.Stall = defaultStall
	}
	if o.Registry == nil {
		o.Registry = promclient.NewRegistry()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		Options: o,
		alone:   aloneTime,
		shares:  shares{by: make(map[sharer]*share)},
		turns:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
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
	if err := h.newRouters(); err != nil {
		return nil, err
	}
	return h, nil
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(h.router, w, r) }

// ServeAdmin answers one request of the administrators' own listener, which has all paths but those
// for writing. It is used with [Options.SeparateAdmin].
func (h *Handler) ServeAdmin(w http.ResponseWriter, r *http.Request) { h.serve(h.admin, w, r) }

func (h *Handler) serve(router http.Handler, w http.ResponseWriter, r *http.Request) {
	h.active.Add(1)
	defer h.active.Add(-1)
	x, r := h.begin(w, r)
	defer h.end(x, r)
	if err := h.Ready(); err != nil && !isProbe(r) {
		h.fail(x, notReady(err))
		return
	}
	router.ServeHTTP(x, r)
}
