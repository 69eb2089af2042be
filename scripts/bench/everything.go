package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// everything is the result of a query for all hosts and all times.
type everything struct {
	outcome string // number of values, or the status of a refusal
	bytes   int64  // size of the answer
	grown   int64  // peak of the resident memory minus its size before the query, bytes
}

// questionForEverything returns a query for all metrics of all hosts.
func (b *bench) questionForEverything() []byte {
	var metrics []string
	for _, m := range b.cluster.Metrics() {
		metrics = append(metrics, m.Name)
	}
	body, err := json.Marshal(map[string]any{
		"cluster": synthetic.Name, "from": 0, "to": int64(99999999999), "for-all-nodes": metrics,
	})
	if err != nil {
		panic(err) // strings and numbers only
	}
	return body
}

// askEverything queries everything. A refusal or an incomplete answer is not an error.
func (b *bench) askEverything(ctx context.Context, s *server) (e everything, err error) {
	if err := resetPeakMemory(s.PID()); err != nil {
		return e, err
	}
	before, err := residentMemory(s.PID())
	if err != nil {
		return e, err
	}
	e.outcome, e.bytes = b.outcome(ctx, s.url, b.questionForEverything())
	if err := ctx.Err(); err != nil {
		return e, err
	}
	peak, err := peakMemory(s.PID())
	e.grown = max(0, peak-before)
	return e, err
}

// outcome sends a query and describes the result in a few words.
func (b *bench) outcome(ctx context.Context, url string, body []byte) (string, int64) {
	answer, err := b.send(ctx, url+"/api/query/", body)
	if err != nil {
		return "no answer", 0
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		n, _ := io.Copy(io.Discard, answer.Body)
		return fmt.Sprintf("refused: %d", answer.StatusCode), n
	}
	in := &countingReader{r: answer.Body}
	values, err := countValues(in)
	if err != nil {
		return "incomplete answer", in.n
	}
	return fmt.Sprintf("%d values", values), in.n
}

// countValues counts the numbers in lists, which are the samples; all other numbers are members of
// objects. It does not keep the answer in memory.
func countValues(r io.Reader) (n int, _ error) {
	list, depth := false, 0
	for d := json.NewDecoder(r); ; {
		token, err := d.Token()
		switch {
		case err == io.EOF && depth > 0: // Token returns io.EOF here, too
			return n, io.ErrUnexpectedEOF
		case err == io.EOF:
			return n, nil
		case err != nil:
			return n, err
		}
		switch t := token.(type) {
		case json.Delim:
			list = t == '['
			if t == '[' || t == '{' {
				depth++
			} else {
				depth--
			}
		case float64:
			if list {
				n++
			}
		}
	}
}
