package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// answer is the size of an answer.
type answer struct {
	bytes   int64
	results int
	values  int // not null
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
		a.results += len(result)
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
