// Package prometheus answers the HTTP API of Prometheus from the store: PromQL queries, labels,
// series, remote read and remote write, so that Grafana, promtool and Prometheus itself can be
// clients. The engine is that of Prometheus, over a [storage.Queryable] of our own.
//
// A series has the labels __name__, cluster, hostname, type, type_id, stype and stype_id, of which
// empty ones are left out; the node itself has type="node". The sum or average of a metric over a
// node has the name of a recording rule, node:METRIC:sum or node:METRIC:avg, and no type.
//
// Every request reads through one [access.Reader], so labels, values and series come from what its
// principal may see. The package decides no permission, and knows neither tokens nor files.
//
// Forms of requests and answers: https://prometheus.io/docs/prometheus/latest/querying/api/
package prometheus

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/memstore"
)

// Metric is a configured metric.
type Metric struct {
	memstore.Metric
	Unit, Help string // shown to people; may be empty
}

// Options of an [API]. Metrics is required.
type Options struct {
	Metrics []Metric

	// MaxSamples is how many samples a query may hold in memory at once, 16 bytes each; 0 means 50
	// million.
	MaxSamples int
	Timeout    time.Duration // of one query; 0 means two minutes

	// WriteCluster is the cluster of series of remote write without a label "cluster"; empty: they are
	// refused.
	WriteCluster string
	WriteDevices DeviceLabels

	Now     func() time.Time // nil means time.Now
	Version string           // of the program
	Log     *slog.Logger     // nil means none
}

const (
	defaultMaxSamples = 50_000_000
	defaultTimeout    = 2 * time.Minute

	// maxSeries bounds the series of one request: their labels lie in memory together.
	maxSeries = 1_000_000
)

// API answers requests. It is safe for concurrent use.
type API struct {
	o      Options
	names  []name // of all metrics, sorted
	parser parser.Parser
	engine *promql.Engine
	writes writes
}

// Caller is on whose behalf a request is answered.
type Caller struct {
	Reader     *access.Reader
	MaxSamples int // how many samples one request may read; 0 means no limit

	Cost *Cost // gets what the request cost; nil if nobody asks
}

// Cost is what a request asked for and read, as far as that went.
type Cost struct {
	Seconds int64 // of the time range
	Series  int   // that were selected or read
	Values  int   // of series, those that an aggregate is made of included
}

// reading bounds what one request reads. It is used by one goroutine at a time.
type reading struct {
	reader    *access.Reader
	cost      *Cost
	maxValues int // 0: no limit
	selected  int // series whose labels are in memory
}

func (c Caller) reading() *reading {
	if c.Cost == nil {
		c.Cost = new(Cost)
	}
	return &reading{reader: c.Reader, cost: c.Cost, maxValues: c.MaxSamples}
}

// hold counts a series whose labels are kept until the request is answered.
func (r *reading) hold() error {
	if r.selected++; r.selected > maxSeries {
		return promql.ErrTooManySeries("selecting series")
	}
	return nil
}

// read reads a series.
func (r *reading) read(ctx context.Context, sel memstore.Selection, t memstore.Range) (memstore.Data, error) {
	data, err := r.reader.Read(ctx, sel, t)
	r.cost.Series, r.cost.Values = r.cost.Series+data.Series, r.cost.Values+data.Read
	if err == nil && r.maxValues > 0 && r.cost.Values > r.maxValues {
		err = promql.ErrTooManySamplesRead("reading series")
	}
	return data, err
}

// New returns an API.
func New(o Options) (*API, error) {
	if len(o.Metrics) == 0 {
		return nil, errors.New("prometheus: Metrics are required")
	}
	if o.MaxSamples == 0 {
		o.MaxSamples = defaultMaxSamples
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	a := &API{o: o, names: namesOf(o.Metrics), parser: parser.NewParser(parser.Options{})}
	engine := promql.EngineOpts{
		Logger:               o.Log,
		MaxSamples:           o.MaxSamples,
		Timeout:              o.Timeout,
		LookbackDelta:        lookback(o.Metrics),
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		EnableQueryCost:      true,
		Parser:               a.parser,
		NoStepSubqueryIntervalFn: func(int64) int64 {
			return slowest(o.Metrics).Milliseconds()
		},
	}
	a.engine = promql.NewEngine(engine)
	a.engine.SetQueryLimits(maxSeries, 0, 0)
	return a, nil
}

// lookback is how far a query looks back for the latest sample: Prometheus' five minutes, or twice
// the slowest frequency if that is longer.
func lookback(metrics []Metric) time.Duration {
	const prometheusDefault = 5 * time.Minute
	return max(prometheusDefault, 2*slowest(metrics))
}

// slowest returns the longest time between two samples of a metric.
func slowest(metrics []Metric) (d time.Duration) {
	for _, m := range metrics {
		d = max(d, m.Frequency)
	}
	return d
}

// Endpoint is one path of the API.
type Endpoint struct {
	Path    string
	Methods []string
	Serve   func(w http.ResponseWriter, r *http.Request, c Caller) error // an *Error, or an error of reading
}

// Endpoints returns all paths for queries.
func (a *API) Endpoints() []Endpoint {
	get := []string{http.MethodGet, http.MethodHead}
	ask := []string{http.MethodGet, http.MethodPost}
	return []Endpoint{
		{"/api/v1/query", ask, a.query},
		{"/api/v1/query_range", ask, a.queryRange},
		{"/api/v1/series", ask, a.series},
		{"/api/v1/labels", ask, a.labelNames},
		{"/api/v1/label/{name}/values", get, a.labelValues},
		{"/api/v1/metadata", get, a.metadata},
		{"/api/v1/query_exemplars", ask, empty("[]")},
		{"/api/v1/rules", get, empty(`{"groups":[]}`)},
		{"/api/v1/alerts", get, empty(`{"alerts":[]}`)},
		{"/api/v1/format_query", ask, a.formatQuery},
		{"/api/v1/parse_query", ask, a.parseQuery},
		{"/api/v1/status/buildinfo", get, a.buildInfo},
		{"/api/v1/read", []string{http.MethodPost}, a.remoteRead},
	}
}
