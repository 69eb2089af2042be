package prometheus

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/timestamp"

	"github.com/ringstore/ringstore/api/internal/truncate"
)

// maxForm is the length of a form in a body, in bytes.
const maxForm = 1 << 20

// The times that a request without start and end covers.
var minTime, maxTime = time.UnixMilli(-farthest).UTC(), time.UnixMilli(farthest).UTC()

// readForm reads the parameters of the URL and of a form in the body.
func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	err := r.ParseForm()
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return &Error{Status: http.StatusRequestEntityTooLarge, Type: "bad_data", Public: fmt.Sprintf("the form is larger than %d bytes", maxForm)}
	}
	if err != nil {
		return badData("the form cannot be read: %v", err)
	}
	return nil
}

// timeParameter reads a time: Unix seconds with decimals, or RFC 3339.
func timeParameter(r *http.Request, name string, otherwise time.Time) (time.Time, error) {
	text := r.Form.Get(name)
	if text == "" {
		return otherwise, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if math.IsNaN(seconds) || math.Abs(seconds) > farthest/1000 {
			return time.Time{}, badData("invalid parameter %q: %q is not a time", name, clip(text))
		}
		whole, part := math.Modf(seconds)
		return time.Unix(int64(whole), int64(math.Round(part*1000))*int64(time.Millisecond)).UTC(), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	// What Prometheus calls its first and last moment.
	switch text {
	case "-292273086-05-16T16:47:06Z":
		return minTime, nil
	case "292277025-08-18T07:12:54.999999999Z":
		return maxTime, nil
	}
	return time.Time{}, badData("invalid parameter %q: expected Unix seconds or RFC 3339, got %q", name, clip(text))
}

// durationParameter reads a duration: seconds with decimals, or Prometheus' form such as 5m.
func durationParameter(r *http.Request, name string, otherwise time.Duration) (time.Duration, error) {
	text := r.Form.Get(name)
	if text == "" {
		return otherwise, nil
	}
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		if ns := seconds * float64(time.Second); math.Abs(ns) < math.MaxInt64 {
			return time.Duration(ns), nil
		}
	} else if d, err := model.ParseDuration(text); err == nil {
		return time.Duration(d), nil
	}
	return 0, badData("invalid parameter %q: expected seconds or a duration such as 5m, got %q", name, clip(text))
}

// limitParameter reads the number of results to return; 0 means all.
func limitParameter(r *http.Request, name string) (int, error) {
	text := r.Form.Get(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, badData("invalid parameter %q: expected a whole number, got %q", name, clip(text))
	}
	return n, nil
}

// rangeParameters reads start and end, in Unix milliseconds; without them all times are meant.
func rangeParameters(r *http.Request) (mint, maxt int64, err error) {
	start, err := timeParameter(r, "start", minTime)
	if err != nil {
		return 0, 0, err
	}
	end, err := timeParameter(r, "end", maxTime)
	if err != nil {
		return 0, 0, err
	}
	if end.Before(start) {
		return 0, 0, badData("invalid parameter %q: it is before start", "end")
	}
	return timestamp.FromTime(start), timestamp.FromTime(end), nil
}

// matchParameters reads the selectors match[].
func (a *API) matchParameters(r *http.Request) ([][]*labels.Matcher, error) {
	if n := len(r.Form["match[]"]); n > maxSelectors {
		return nil, badData("expected at most %d parameters %q, got %d", maxSelectors, "match[]", n)
	}
	if err := checkSize(r.Form["match[]"]...); err != nil {
		return nil, badParameter("match[]", err)
	}
	sets, err := a.parser.ParseMetricSelectors(r.Form["match[]"])
	if err != nil {
		return nil, badParameter("match[]", err)
	}
	for _, set := range sets {
		if matchesEmpty(set) {
			return nil, badData("invalid parameter %q: a selector must have a matcher that an empty value does not match", "match[]")
		}
	}
	return sets, nil
}

func matchesEmpty(matchers []*labels.Matcher) bool {
	for _, m := range matchers {
		if !m.Matches("") {
			return false
		}
	}
	return true
}

// clip shortens what a client sent before it is quoted.
func clip(text string) string { return truncate.Text(text, 100) }
