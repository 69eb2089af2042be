package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// devices are the series of each host.
var devices = []string{"", "0", "1", "2"}

const (
	lateEvery = 7           // batches
	lateBy    = 6 * 60 * 60 // seconds

	againEvery = 5 // batches: after one of so many, an earlier one is overwritten

	seconds   = 5                // of a batch
	maxRounds = lateBy / seconds // per host, until late batches would reach the first samples
)

// sender writes one batch after the other: a few seconds of one host each, of all hosts in
// rotation, and sometimes of old times. Some batches are overwritten later.
type sender struct {
	name    string
	hosts   int
	base    int64          // Unix seconds of the first sample
	batches int            // sent so far
	client  http.Client    // has its own connection
	holds   map[slot]value // everything that was sent
}

// slot is the place of a sample.
type slot struct {
	host   int
	device string
	second int64
}

// value is what was sent for a slot. The server must have the last acknowledged number, or one of
// those that were sent after it without an acknowledgement.
type value struct {
	number float64   // the last acknowledged one
	acked  bool      // there is one
	maybe  []float64 // sent after it
}

// after returns the value after another number was sent.
func (v value) after(number float64, acked bool) value {
	if acked {
		return value{number: number, acked: true}
	}
	v.maybe = append(v.maybe, number)
	return v
}

func (v value) allows(number float64) bool {
	return v.acked && v.number == number || slices.Contains(v.maybe, number)
}

func newSender(id, hosts int, base int64) *sender {
	return &sender{
		name: fmt.Sprintf("w%d", id), hosts: hosts, base: base, holds: make(map[slot]value),
	}
}

func (s *sender) host(i int) string { return fmt.Sprintf("%s-%d", s.name, i) }

// overwrites returns the batch that is sent again, with other values, after batch n.
func (s *sender) overwrites(n int) (batch int, again bool) {
	batch = n - 2*s.hosts
	return batch, n%againEvery == 0 && batch >= 0
}

// slots returns the slots of batch n. No two batches share a slot.
func (s *sender) slots(n int) (all []slot) {
	host, round := n%s.hosts, n/s.hosts
	begin := s.base + int64(round)*seconds
	if n%lateEvery == 0 {
		begin -= lateBy
	}
	for i := range int64(seconds) {
		for _, d := range devices {
			all = append(all, slot{host, d, begin + i})
		}
	}
	return all
}

// number returns the value of a sample, which is unique: fraction is 0.25 for the first value of a
// slot and 0.75 for the second one.
func number(batch, i int, fraction float64) float64 { return float64(batch*1000+i) + fraction }

func (s *sender) body(n int, fraction float64) []byte {
	var b bytes.Buffer
	for i, x := range s.slots(n) {
		fmt.Fprintf(&b, "%s,hostname=%s", metric, s.host(x.host))
		if x.device != "" {
			fmt.Fprintf(&b, ",type=hwthread,type-id=%s", x.device)
		}
		fmt.Fprintf(&b, " value=%v %d\n", number(n, i, fraction), x.second)
		if x.device == "" {
			fmt.Fprintf(&b, "%s,hostname=%s value=1 %d\n", other, s.host(x.host), x.second)
		}
	}
	return b.Bytes()
}

// send writes until a request fails.
func (s *sender) send(ctx context.Context, url string) {
	for ctx.Err() == nil {
		n := s.batches
		s.batches++
		if !s.write(url, n, 0.25) {
			return
		}
		if batch, again := s.overwrites(n); again && !s.write(url, batch, 0.75) {
			return
		}
	}
}

// write sends a batch and notes whether it was acknowledged.
func (s *sender) write(url string, batch int, fraction float64) (acked bool) {
	acked = s.post(url, s.body(batch, fraction)) == nil
	for i, x := range s.slots(batch) {
		s.holds[x] = s.holds[x].after(number(batch, i, fraction), acked)
	}
	return acked
}

func (s *sender) post(url string, body []byte) error {
	r, err := s.client.Post(url+"/api/write/?cluster="+cluster, "text/plain", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.Status, text)
	}
	return err
}

// result is the result of a comparison.
type result struct {
	acked, lost, invented int
	early                 int    // servers killed while they started
	before                int    // samples acknowledged in previous directories
	example               string // the first difference
}

func (r *result) wrong(count *int, format string, args ...any) {
	if *count++; r.example == "" {
		r.example = fmt.Sprintf(format, args...)
	}
}

// compare queries everything that the sender sent.
func (s *sender) compare(url string, r *result) error {
	last := s.base + int64(s.batches/s.hosts+2)*seconds
	got := make(map[slot]float64)
	for host := range s.hosts {
		for _, from := range []int64{s.base - lateBy - 600, s.base - 600} {
			if err := s.ask(url, host, from, min(from+lateBy, last), got); err != nil {
				return err
			}
		}
	}
	for x, v := range got {
		if must, sent := s.holds[x]; !sent || !must.allows(v) {
			r.wrong(&r.invented, "%s at %d, device %q: got %v, sent %+v", s.host(x.host), x.second, x.device, v, must)
		}
	}
	for x, must := range s.holds {
		if !must.acked {
			continue
		}
		r.acked++
		if _, there := got[x]; !there {
			r.wrong(&r.lost, "%s at %d, device %q: %v is lost", s.host(x.host), x.second, x.device, must.number)
		}
	}
	return nil
}

// ask adds all values of a host to got.
func (s *sender) ask(url string, host int, from, to int64, got map[slot]float64) error {
	var queries []string
	for _, d := range devices {
		device := ""
		if d != "" {
			device = fmt.Sprintf(`,"type":"hwthread","type-ids":[%q]`, d)
		}
		queries = append(queries, fmt.Sprintf(`{"metric":%q,"host":%q%s}`, metric, s.host(host), device))
	}
	body := fmt.Sprintf(`{"cluster":%q,"from":%d,"to":%d,"queries":[%s]}`, cluster, from, to, strings.Join(queries, ","))
	r, err := s.client.Post(url+"/api/query/", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var answer struct {
		Results [][]struct {
			Data             []*float64
			From, Resolution int64
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil || r.StatusCode != http.StatusOK {
		return fmt.Errorf("query: %s: %w", r.Status, err)
	}
	for i, result := range answer.Results {
		for _, series := range result {
			for k, v := range series.Data {
				if v != nil {
					got[slot{host, devices[i], series.From + int64(k)*series.Resolution}] = *v
				}
			}
		}
	}
	return nil
}
