package main

import (
	"encoding/json"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// queryRequest and query are the body of /api/query.
type queryRequest struct {
	Cluster     string   `json:"cluster"`
	From        int64    `json:"from"`
	To          int64    `json:"to"`
	Queries     []query  `json:"queries,omitempty"`
	ForAllNodes []string `json:"for-all-nodes,omitempty"`
	WithStats   bool     `json:"with-stats"`
	WithData    bool     `json:"with-data"`
}

type query struct {
	Metric     string   `json:"metric"`
	Host       string   `json:"host"`
	Resolution int      `json:"resolution,omitempty"` // seconds
	Aggregate  bool     `json:"aggreg"`
	Type       string   `json:"type,omitempty"`
	TypeIDs    []string `json:"type-ids,omitempty"`
}

// question is a query whose cost is measured.
type question struct {
	name    string
	body    []byte
	results int // expected in the answer
	values  int // expected in the answer; 0 means any number
}

// The numbers of hosts that the questions ask for, if there are as many.
const (
	fewHosts  = 4
	someHosts = 8
)

// seriesPerHost is the number of series of a host in plainSeries.
const seriesPerHost = 16 + 3*64

// questions returns the queries to measure: what a backend asks for most.
func (b *bench) questions() []question {
	return []question{
		b.plainSeries(),
		b.aggregates(),
		b.aggregatesByID(),
		b.statistics(),
		b.allHosts(),
	}
}

// plainSeries returns a query for seriesPerHost series of each of a few hosts: 16 of the node, and 64
// hwthreads of a constant, a walk and a noise metric.
func (b *bench) plainSeries() question {
	var queries []query
	for _, host := range b.names(fewHosts) {
		for _, metric := range b.metricsOf("node") {
			queries = append(queries, query{Metric: metric, Host: host})
		}
		for _, metric := range []string{"clock_base", "cpu_user", "clock"} {
			queries = append(queries, query{Metric: metric, Host: host, Type: "hwthread", TypeIDs: b.threads()})
		}
	}
	series := len(b.names(fewHosts)) * seriesPerHost
	return question{"query", b.request(0, queries, true), series, series * b.steps}
}

// aggregates returns a query for the thread metrics of a few hosts, each summed or averaged to the
// node because the query names no device. One point per ten minutes is a plot of a day.
func (b *bench) aggregates() question {
	queries := b.perMetric(fewHosts, b.metricsOf("hwthread"))
	for i := range queries {
		queries[i].Resolution = plotResolution
	}
	return question{"aggregates", b.request(0, queries, true), len(queries), 0}
}

// aggregatesByID is aggregates with all devices named, as cc-backend does.
func (b *bench) aggregatesByID() question {
	queries := b.perMetric(fewHosts, b.metricsOf("hwthread"))
	for i := range queries {
		queries[i].Resolution = plotResolution
		queries[i].Type, queries[i].TypeIDs, queries[i].Aggregate = "hwthread", b.threads(), true
	}
	return question{"aggregates by id", b.request(0, queries, true), len(queries), 0}
}

const plotResolution = 600

// statistics returns a query for the statistics of some hosts without any values: what a backend
// keeps of a job.
func (b *bench) statistics() question {
	queries := b.perMetric(someHosts, append(b.metricsOf("hwthread"), b.metricsOf("node")...))
	return question{"statistics", b.request(0, queries, false), len(queries), 0}
}

// allHosts returns a query for six metrics of all hosts: three of the node, and three aggregates of
// hwthreads.
func (b *bench) allHosts() question {
	metrics := []string{"cpu_load", "mem_used", "net_bytes_in", "cpu_user", "flops_any", "mem_bw"}
	return question{"all hosts", b.body(queryRequest{
		From: b.at(0).Unix(), To: b.at(b.steps).Unix(), ForAllNodes: metrics, WithStats: true, WithData: true,
	}), len(metrics) * b.hosts, 0}
}

// smallQuestion returns a query for one value.
func (b *bench) smallQuestion() []byte {
	return b.request(b.steps-1, []query{{Metric: "cpu_load", Host: b.cluster.Host(0)}}, true)
}

// names returns the names of at most n hosts.
func (b *bench) names(n int) (names []string) {
	for host := range min(n, b.hosts) {
		names = append(names, b.cluster.Host(host))
	}
	return names
}

// perMetric returns one query for each of the metrics of at most n hosts.
func (b *bench) perMetric(n int, metrics []string) (queries []query) {
	for _, host := range b.names(n) {
		for _, metric := range metrics {
			queries = append(queries, query{Metric: metric, Host: host})
		}
	}
	return queries
}

// metricsOf returns the metrics of a type of device.
func (b *bench) metricsOf(kind string) (metrics []string) {
	seen := make(map[string]bool)
	for _, s := range b.cluster.Series() {
		if s.Type == kind && !seen[s.Metric] {
			seen[s.Metric] = true
			metrics = append(metrics, s.Metric)
		}
	}
	return metrics
}

// threads returns the ids of a host's hwthreads.
func (b *bench) threads() (ids []string) {
	for _, s := range b.cluster.Series() {
		if s.Type == "hwthread" && s.Metric == "cpu_user" {
			ids = append(ids, s.TypeID)
		}
	}
	return ids
}

func (b *bench) request(firstStep int, queries []query, withData bool) []byte {
	return b.body(queryRequest{
		From: b.at(firstStep).Unix(), To: b.at(b.steps).Unix(), Queries: queries, WithStats: true, WithData: withData,
	})
}

func (b *bench) body(r queryRequest) []byte {
	r.Cluster = synthetic.Name
	body, err := json.Marshal(r)
	if err != nil {
		panic(err) // strings and numbers only
	}
	return body
}
