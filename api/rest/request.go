package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"

	"github.com/ringstore/ringstore/api/access"
	"github.com/ringstore/ringstore/memstore"
)

const (
	// maxQueries bounds the memory of a decoded body: the shortest query takes two bytes of JSON
	// and over a hundred bytes decoded.
	maxQueries = 100_000
	// maxMetricName bounds the names that an answer repeats once per host. No metric has a longer
	// name.
	maxMetricName = 256
	// maxRepeats bounds the entries of an answer that repeat another one, which a few kilobytes can
	// ask for.
	maxRepeats = 100_000
)

// request is the body of /api/query. Unknown members are ignored.
type request struct {
	Cluster     string          `json:"cluster"`
	Queries     json.RawMessage `json:"queries"`
	ForAllNodes []string        `json:"for-all-nodes"`
	From        int64           `json:"from"` // Unix seconds
	To          int64           `json:"to"`
	WithStats   bool            `json:"with-stats"`
	WithData    bool            `json:"with-data"`
	WithPadding *bool           `json:"with-padding"` // nil: the front only, as cc-metric-store does

	queries []query  // decoded Queries
	hosts   []string // selected by ForAllNodes
	reader  *access.Reader

	warnings *warnings // nil for callers who may not see them
}

// query is one query of a request.
type query struct {
	Metric     string  `json:"metric"`
	Host       string  `json:"host"`
	Resolution int64   `json:"resolution"` // seconds; 0: the metric's frequency
	ScaleBy    float64 `json:"scale-by"`   // 0: 1
	Aggregate  bool    `json:"aggreg"`
	Type       string  `json:"type"` // empty: the host
	TypeIDs    idList  `json:"type-ids"`
	Subtype    string  `json:"subtype"`
	SubtypeIDs idList  `json:"subtype-ids"`
	Resample   string  `json:"resample"`

	resample memstore.Resample // decoded Resample
}

// readRequest reads and checks the body of /api/query and looks up the hosts for ForAllNodes.
func (h *Handler) readRequest(w http.ResponseWriter, r *http.Request) (*request, error) {
	req := &request{WithStats: true, WithData: true}
	var members io.Writer
	if req.warnings = h.warningsFor(w); req.warnings != nil {
		members = &memberChecker{warnings: req.warnings}
	}
	err := h.decodeBody(w, r, req, false, members)
	if errors.Is(err, io.EOF) {
		return nil, badRequest("the body is empty; expected a query")
	}
	if err != nil {
		return nil, err
	}
	if req.queries, err = decodeQueries(req.Queries); err != nil {
		return nil, err
	}
	req.Queries = nil
	for i, metric := range req.ForAllNodes {
		if err := checkMetric(fmt.Sprintf("for-all-nodes[%d]", i), metric); err != nil {
			return nil, err
		}
	}
	req.reader = h.reader(w)
	if req.warnings != nil && len(req.queries)+len(req.ForAllNodes) > 0 && !slices.Contains(h.Store.Clusters(), req.Cluster) {
		req.warnings.add("unknown cluster", req.Cluster)
	}
	if len(req.ForAllNodes) > 0 {
		if req.hosts, err = req.reader.Hosts(req.Cluster); err != nil {
			return nil, err
		}
	}
	if err := req.checkRepeats(); err != nil {
		return nil, err
	}
	return req, h.checkQueryCost(r.Context(), req)
}

func decodeQueries(list json.RawMessage) ([]query, error) {
	if len(list) == 0 || string(list) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(list))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return nil, badRequest("queries: expected a list")
	}
	var queries []query
	for d.More() {
		if len(queries) == maxQueries {
			return nil, badRequest("queries: more than %d", maxQueries)
		}
		where := fmt.Sprintf("queries[%d]", len(queries))
		var q query
		if err := d.Decode(&q); err != nil {
			return nil, jsonFailure(where, err)
		}
		if err := q.check(where); err != nil {
			return nil, err
		}
		queries = append(queries, q)
	}
	return queries, nil
}

func (q *query) check(where string) error {
	switch q.Resample {
	case "", "lttb":
		q.resample = memstore.LTTB
	case "average":
		q.resample = memstore.ResampleAverage
	case "max":
		q.resample = memstore.ResampleMax
	case "min":
		q.resample = memstore.ResampleMin
	default:
		return badRequest(`%s.resample: expected "average", "max", "min" or "lttb"`, where)
	}
	if q.Aggregate { // no device counts twice
		q.TypeIDs.order, q.SubtypeIDs.order = nil, nil
	}
	return checkMetric(where+".metric", q.Metric)
}

func checkMetric(where, name string) error {
	if len(name) > maxMetricName {
		return badRequest("%s: longer than %d bytes", where, maxMetricName)
	}
	return nil
}

// checkRepeats refuses a request whose answer would repeat too many entries, because an id or a
// metric is named again and again.
func (req *request) checkRepeats() error {
	metrics := make(map[string]bool)
	for _, name := range req.ForAllNodes {
		metrics[name] = true
	}
	repeats := (len(req.ForAllNodes) - len(metrics)) * len(req.hosts)
	for i := range req.queries {
		q := &req.queries[i]
		repeats += max(0, q.answers()-q.distinct())
		if repeats > maxRepeats {
			break
		}
	}
	if repeats > maxRepeats {
		return badRequest("more than %d entries of the answer would repeat another one: name each id and metric once", maxRepeats)
	}
	return nil
}

// distinct returns how many of the query's selections are different.
func (q *query) distinct() int {
	once := *q
	once.TypeIDs.order, once.SubtypeIDs.order = nil, nil
	return once.answers()
}

// generated yields the queries that for-all-nodes stands for. Each is valid until the next one.
func (req *request) generated() iter.Seq[*query] {
	return func(yield func(*query) bool) {
		var q query
		for _, q.Host = range req.hosts {
			for _, q.Metric = range req.ForAllNodes {
				if !yield(&q) {
					return
				}
			}
		}
	}
}

// all yields the queries in the order of their results.
func (req *request) all() iter.Seq[*query] {
	return func(yield func(*query) bool) {
		for i := range req.queries {
			if !yield(&req.queries[i]) {
				return
			}
		}
		req.generated()(yield)
	}
}

func (req *request) padding() memstore.Padding {
	switch {
	case req.WithPadding == nil:
		return memstore.PadFront
	case *req.WithPadding:
		return memstore.PadBoth
	default:
		return memstore.PadNone
	}
}

// shape is how a query wants its values.
type shape struct {
	resolution int64
	resample   memstore.Resample
}

func (q *query) shape() shape { return shape{q.Resolution, q.resample} }

func (req *request) timeRange(s shape) memstore.Range {
	return memstore.Range{
		From: req.From, To: req.To,
		Resolution: s.resolution, Resample: s.resample, Pad: req.padding(),
		StatsOnly: !req.WithData,
	}
}

// maxValues returns how many values one request of a caller may read; 0 means no limit. An empty
// cluster means the caller's role on all clusters.
func (h *Handler) maxValues(reader *access.Reader, cluster string) int {
	if h.Limits.ValuesPerQuery == 0 && !reader.HasServiceRole(cluster) {
		return defaultValuesPerQuery
	}
	return h.Limits.ValuesPerQuery
}

// checkQueryCost refuses a request that reads too many values, before it reads any. Each selection
// counts as at least one value. The status is 400 because 413 means that the body is too large.
func (h *Handler) checkQueryCost(ctx context.Context, req *request) error {
	limit := h.maxValues(req.reader, req.Cluster)
	if limit == 0 {
		return nil
	}
	exceeded := badRequest("the queries read more than %d values: request fewer series or a shorter time range", limit)
	left := limit
	for q := range req.all() {
		if q.answers() > left {
			return exceeded
		}
		left -= max(0, 1-q.answers())
		for sel := range q.selections(req.Cluster) {
			if left -= max(1, req.reader.Cost(sel, req.timeRange(q.shape()))); left < 0 {
				return exceeded
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// answers returns how many selections the query has.
func (q *query) answers() int {
	ids, subtypes := q.TypeIDs.len(), q.SubtypeIDs.len()
	switch {
	case q.Type == "" || q.Aggregate:
		return 1
	case q.Type == "node":
		ids = 1
	}
	if q.Subtype == "" {
		subtypes = 1
	}
	return ids * subtypes
}

// selections yields one selection for each entry of the query's result: one for the host, one for
// all devices if the query aggregates them, or one for each device. A subtype without a type is
// ignored.
func (q *query) selections(cluster string) iter.Seq[memstore.Selection] {
	sel := memstore.Selection{Cluster: cluster, Host: q.Host, Metric: q.Metric, Type: q.Type}
	return func(yield func(memstore.Selection) bool) {
		if q.Type == "" {
			yield(sel)
			return
		}
		sel.TypeIDs, sel.Subtype, sel.SubtypeIDs = q.TypeIDs.names, q.Subtype, q.SubtypeIDs.names
		if q.Aggregate {
			yield(sel)
			return
		}
		ids := &q.TypeIDs
		if q.Type == "node" {
			ids = &idList{names: []string{""}}
		}
		for i := range ids.len() {
			sel.TypeIDs = ids.at(i)
			if q.Subtype == "" {
				if !yield(sel) {
					return
				}
				continue
			}
			for j := range q.SubtypeIDs.len() {
				sel.SubtypeIDs = q.SubtypeIDs.at(j)
				if !yield(sel) {
					return
				}
			}
		}
	}
}
