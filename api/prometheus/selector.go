package prometheus

import (
	"slices"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringstore/ringstore/memstore"
)

// selector is a set of matchers, by the label that they test.
type selector map[string][]*labels.Matcher

// newSelector returns the selector of some matchers, and whether any series can match them: a label
// that no series has is empty.
func newSelector(matchers []*labels.Matcher) (selector, bool) {
	s := make(selector, len(matchers))
	for _, m := range matchers {
		if !slices.Contains(allLabels[:], m.Name) {
			if !m.Matches("") {
				return nil, false
			}
			continue
		}
		s[m.Name] = append(s[m.Name], m)
	}
	return s, true
}

// matches reports whether a value of a label matches.
func (s selector) matches(label, value string) bool {
	for _, m := range s[label] {
		if !m.Matches(value) {
			return false
		}
	}
	return true
}

// named returns the values that a label must have one of; ok is false if others can match too.
func (s selector) named(label string) (values []string, ok bool) {
	for _, m := range s[label] {
		switch m.Type {
		case labels.MatchEqual:
			return []string{m.Value}, true
		case labels.MatchRegexp:
			if set := m.SetMatches(); len(set) > 0 {
				values = slices.Clone(set)
				slices.Sort(values)
				return slices.Compact(values), true
			}
		}
	}
	return nil, false
}

var deviceLabels = [...]string{typeLabel, typeIDLabel, stypeLabel, stypeIDLabel}

// matchesDevice reports whether the labels of a series' device match.
func (s selector) matchesDevice(i *id) bool {
	for _, label := range deviceLabels {
		if len(s[label]) > 0 && !s.matches(label, i.label(label)) {
			return false
		}
	}
	return true
}

// matching are the names that a selector matches, by metric.
type matching struct {
	stored []*name // by index of the metric; nil: no match
	whole  []*name
	byName map[string]int // index of each metric with a match
}

func (a *API) matching(s selector) matching {
	n := matching{
		stored: make([]*name, len(a.o.Metrics)), whole: make([]*name, len(a.o.Metrics)), byName: make(map[string]int),
	}
	for i := range a.names {
		candidate := &a.names[i]
		if !s.matches(nameLabel, candidate.text) {
			continue
		}
		n.byName[a.o.Metrics[candidate.metric].Name] = candidate.metric
		if candidate.whole {
			n.whole[candidate.metric] = candidate
		} else {
			n.stored[candidate.metric] = candidate
		}
	}
	return n
}

func (n matching) keeps(metric string) bool {
	_, ok := n.byName[metric]
	return ok
}

// of yields the series that a host's found series stand for: themselves, and the aggregates.
func (n matching) of(s selector, cluster, host string, found []memstore.Found, yield func(id) bool) bool {
	counted := make(map[int]bool)
	for _, f := range found {
		metric := n.byName[f.Metric]
		if stored := n.stored[metric]; stored != nil {
			i := id{cluster, host, stored, f.Device}
			if s.matchesDevice(&i) && !yield(i) {
				return false
			}
		}
		if whole := n.whole[metric]; whole != nil && !counted[metric] {
			counted[metric] = true
			i := id{cluster: cluster, host: host, name: whole}
			if s.matchesDevice(&i) && !yield(i) {
				return false
			}
		}
	}
	return true
}
