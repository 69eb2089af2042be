package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// The query reads 4 hosts of 208 series each: 16 of the node, and 64 hwthreads of a constant, a
// walk and a noise metric.
const (
	questionHosts  = 4
	questionSeries = 16 + 3*64
)

func questionMetrics() []string { return []string{"clock_base", "cpu_user", "clock"} }

// queryRequest and query are the body of /api/query.
type queryRequest struct {
	Cluster string  `json:"cluster"`
	From    int64   `json:"from"`
	To      int64   `json:"to"`
	Queries []query `json:"queries"`
}

type query struct {
	Metric  string   `json:"metric"`
	Host    string   `json:"host"`
	Type    string   `json:"type,omitempty"`
	TypeIDs []string `json:"type-ids,omitempty"`
}

// question returns a query for all samples of some series.
func (b *bench) question() []byte {
	var queries []query
	for host := range min(questionHosts, b.hosts) {
		name := b.cluster.Host(host)
		threads := make(map[string][]string) // by metric
		for _, s := range b.cluster.Series() {
			switch s.Type {
			case "node":
				queries = append(queries, query{Metric: s.Metric, Host: name})
			case "hwthread":
				threads[s.Metric] = append(threads[s.Metric], s.TypeID)
			}
		}
		for _, metric := range questionMetrics() {
			queries = append(queries, query{Metric: metric, Host: name, Type: "hwthread", TypeIDs: threads[metric]})
		}
	}
	return b.request(0, queries)
}

// smallQuestion returns a query for one value.
func (b *bench) smallQuestion() []byte {
	return b.request(b.steps-1, []query{{Metric: "cpu_load", Host: b.cluster.Host(0)}})
}

func (b *bench) request(firstStep int, queries []query) []byte {
	body, err := json.Marshal(queryRequest{
		Cluster: synthetic.Name,
		From:    b.at(firstStep).Unix(),
		To:      b.at(b.steps).Unix(),
		Queries: queries,
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return body
}

// answer is the size of an answer.
type answer struct {
	bytes  int64
	values int // not null
}

// ask sends a query and counts the values of the answer.
func (b *bench) ask(ctx context.Context, url string, body []byte) (answer, error) {
	r, err := b.query(ctx, url, body)
	if err != nil {
		return answer{}, err
	}
	defer r.Close()
	var decoded struct {
		Results [][]struct {
			Error *string
			Data  []*float64
		}
	}
	in := &countingReader{r: r}
	if err := json.NewDecoder(in).Decode(&decoded); err != nil {
		return answer{}, fmt.Errorf("answer to a query: %w", err)
	}
	a := answer{bytes: in.n}
	for _, result := range decoded.Results {
		for _, series := range result {
			if series.Error != nil {
				return a, fmt.Errorf("answer to a query: %s", *series.Error)
			}
			for _, v := range series.Data {
				if v != nil {
					a.values++
				}
			}
		}
	}
	return a, nil
}

func (b *bench) askAndDiscard(ctx context.Context, url string, body []byte) error {
	r, err := b.query(ctx, url, body)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// query sends a query and returns the body of the answer, which the caller must close.
func (b *bench) query(ctx context.Context, url string, body []byte) (io.ReadCloser, error) {
	answer, err := b.send(ctx, url+"/api/query/", body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 2000))
		return nil, fmt.Errorf("query: %s: %s", answer.Status, text)
	}
	return answer.Body, nil
}

// probe sends a query and returns the status of the answer.
func (b *bench) probe(ctx context.Context, url string, body []byte) (status int, err error) {
	answer, err := b.send(ctx, url+"/api/query/", body)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
