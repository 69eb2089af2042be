package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/ringstore/ringstore/memstore/synthetic"
)

// everything is what comes of a query for all time of all hosts.
type everything struct {
	outcome string // values, or the status of a refusal
	bytes   int64  // of the answer
	grown   int64  // resident memory at its highest beyond what it was before, bytes
}

// questionForEverything names all metrics, and all hosts by naming none.
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

// askEverything is no failure if the program refuses, nor if it breaks off.
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

// outcome says in few words what became of a query.
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
		return "broken off", in.n
	}
	return fmt.Sprintf("%d values", values), in.n
}

// countValues counts the numbers that are members of a list, without holding
// the answer: those are samples, all others are named.
func countValues(r io.Reader) (n int, _ error) {
	list, depth := false, 0
	for d := json.NewDecoder(r); ; {
		token, err := d.Token()
		switch {
		case err == io.EOF && depth > 0: // Token does not mind
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
