// Package resttest is for tests only. It decodes query responses as a client does and compares them
// with recorded ones. It also checks all requests and responses against the description of the API.
package resttest

import (
	"encoding/json"
	"math"
	"slices"
	"testing"
)

// Answer is the response to a query request.
type Answer struct {
	Queries []Query // those that for-all-nodes expanded to
	Results [][]Entry
}

// Query is a query as a response repeats it.
type Query struct {
	Metric, Host string
	Aggreg       *bool
}

// Entry is one series of a response. Times are Unix seconds; nil stands for null.
type Entry struct {
	Error                *string
	Data                 []*float64
	From, To, Resolution int64
	Avg, Min, Max        *float64
}

// ByTime returns the values by their times, without nulls.
func (e Entry) ByTime() map[int64]float64 {
	values := make(map[int64]float64)
	for i, v := range e.Data {
		if v != nil {
			values[e.From+int64(i)*e.Resolution] = *v
		}
	}
	return values
}

// Compare compares a response with one recorded from cc-metric-store, by the rules that came with
// the recording: trailing nulls are ignored, values may differ by 0.0015, statistics by 0.006, and
// the start by less than 60 s; hosts may come in any order.
func Compare(t testing.TB, got, want Answer) {
	t.Helper()
	if len(got.Results) != len(want.Results) || len(got.Queries) != len(want.Queries) {
		t.Fatalf("%d results for %d queries, want %d for %d", len(got.Results), len(got.Queries), len(want.Results), len(want.Queries))
	}
	for i := range want.Results {
		g := i
		if len(want.Queries) > 0 { // hosts come in any order
			g = slices.IndexFunc(got.Queries, func(q Query) bool {
				return q.Metric == want.Queries[i].Metric && q.Host == want.Queries[i].Host && q.Aggreg != nil && !*q.Aggreg
			})
			if g < 0 {
				t.Fatalf("no query for %+v", want.Queries[i])
			}
		}
		if len(got.Results[g]) != len(want.Results[i]) {
			t.Fatalf("result %d has %d entries, want %d", g, len(got.Results[g]), len(want.Results[i]))
		}
		for j, w := range want.Results[i] {
			compareEntries(t, got.Results[g][j], w)
		}
	}
}

func compareEntries(t testing.TB, got, want Entry) {
	t.Helper()
	if (got.Error != nil) != (want.Error != nil) {
		t.Fatalf("error %v, want %v", got.Error, want.Error)
	}
	if got.Resolution != want.Resolution {
		t.Errorf("resolution %d, want %d", got.Resolution, want.Resolution)
	}
	if off := got.From - want.From; off <= -60 || off >= 60 {
		t.Errorf("from is %d s off", off)
	}
	gotData, wantData := withoutTrailingNulls(got.Data), withoutTrailingNulls(want.Data)
	if len(gotData) != len(wantData) {
		t.Fatalf("%d values, want %d", len(gotData), len(wantData))
	}
	for i := range wantData {
		if !near(gotData[i], wantData[i], 0.0015) {
			t.Errorf("value %d: %s, want %s", i, Show(gotData[i]), Show(wantData[i]))
		}
	}
	for _, s := range []struct {
		name      string
		got, want *float64
	}{{"avg", got.Avg, want.Avg}, {"min", got.Min, want.Min}, {"max", got.Max, want.Max}} {
		if !near(s.got, s.want, 0.006) {
			t.Errorf("%s: %s, want %s", s.name, Show(s.got), Show(s.want))
		}
	}
}

func withoutTrailingNulls(data []*float64) []*float64 {
	for len(data) > 0 && data[len(data)-1] == nil {
		data = data[:len(data)-1]
	}
	return data
}

func near(a, b *float64, tolerance float64) bool {
	if a == nil || b == nil {
		return a == b
	}
	return math.Abs(*a-*b) <= tolerance
}

// Show returns a number of a response as JSON.
func Show(v *float64) string {
	text, _ := json.Marshal(v)
	return string(text)
}
