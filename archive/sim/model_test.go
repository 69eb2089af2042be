package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// absent is the outcome of a free. No sample has this value.
const absent = -1

// place is a slot of a series: a sample that was sent for it has this time.
type place struct {
	series    int   // in the list of all series
	frequency int64 // seconds, of the metric when the sample was sent
	second    int64 // Unix seconds
}

func comparePlaces(a, b place) int {
	return cmp.Or(cmp.Compare(a.series, b.series), cmp.Compare(a.frequency, b.frequency), cmp.Compare(a.second, b.second))
}

// event is a possible content of a place. Each sample has a value of its own, so that a value that
// was never sent is noticed.
type event struct {
	n        int     // number among all events
	outcome  float64 // or absent
	acked    bool    // survives the end of the process
	maybe    bool    // a free that may not have deleted the sample
	observed bool    // after a restart, not sent
}

// model knows what a store may hold.
type model struct {
	places  map[place][]event
	n       int   // number of events
	durable int   // acknowledged events before this one survive a loss of power
	firm    int   // and observed ones before this one
	horizon int64 // Unix seconds; older samples may have left the retention

	archiving int64 // Unix seconds; older samples may be in Parquet files
}

func newModel() *model { return &model{places: make(map[place][]event)} }

// clone returns a copy, as a snapshot of the directory is one.
func (m *model) clone() *model {
	c := *m
	c.places = make(map[place][]event, len(m.places))
	for p, events := range m.places {
		c.places[p] = slices.Clone(events)
	}
	return &c
}

func (m *model) add(p place, e event) { m.places[p] = append(m.places[p], e) }

// definite reports whether an event has certainly happened if the process ended, with or without a
// loss of power.
func (m *model) definite(e event, power bool) bool {
	return e.acked && !e.maybe && (!power || e.n < m.firm || !e.observed && e.n < m.durable)
}

// allowed returns what a store may show for a place. Of a window of which a part has left the
// retention it may show that part, as it was at any time.
func (m *model) allowed(p place, power bool) []float64 {
	return m.outcomes(p, power, p.second < m.horizon)
}

// outcomes returns the outcomes that a place may have, with or without those that later ones replace.
func (m *model) outcomes(p place, power, replaced bool) []float64 {
	all := []float64{absent}
	for _, e := range m.places[p] {
		if m.definite(e, power) && !replaced {
			all = all[:0]
		}
		all = append(all, e.outcome)
	}
	return all
}

// forget makes the acknowledged events that a loss of power may have lost uncertain.
func (m *model) forget() {
	for _, events := range m.places {
		for i := range events {
			events[i].acked = events[i].acked && m.definite(event{n: events[i].n, acked: true, observed: events[i].observed}, true)
		}
	}
}

// doubt makes every event uncertain: files were damaged.
func (m *model) doubt() {
	for _, events := range m.places {
		for i := range events {
			events[i].acked = false
		}
	}
}

// view is how a store answers for its series: at the configured frequencies.
type view struct {
	frequency func(series int) int64 // seconds; 0: the metric is not configured
	phases    map[int]int64          // of the times of the series that it has, seconds
	values    map[place]float64      // what it answered
	newest    int64                  // Unix seconds; later samples are not shown
	partial   bool                   // samples may be missing although they are on disk
	stale     bool                   // and what they have replaced may be there
}

// difference is a place that does not hold what it may hold.
type difference struct {
	place
	text string
}

func (d *difference) Error() string {
	return fmt.Sprintf("series %d at %d (every %d s): %s", d.series, d.second, d.frequency, d.text)
}

// check compares a view with the model and returns the first difference, or nil.
func (m *model) check(v view, power bool) error {
	var first *difference
	differs := func(p place, format string, args ...any) {
		if first == nil || comparePlaces(p, first.place) < 0 {
			first = &difference{p, fmt.Sprintf(format, args...)}
		}
	}
	former := m.former(v)
	for p, value := range v.values {
		may := m.allowed(p, power)
		if v.stale {
			may = m.outcomes(p, power, true)
		}
		if slices.Contains(may, value) {
			continue
		}
		if slices.Contains(may, absent) && slices.ContainsFunc(former[p], func(q place) bool { return slices.Contains(m.allowed(q, power), value) }) {
			continue
		}
		differs(p, "holds %v, which was sent for %v, want one of %v; events %+v; former samples %+v", value, m.sentFor(value), may, m.places[p], former[p])
	}
	if v.partial {
		return nilOr(first)
	}
	for p := range m.places {
		if v.frequency(p.series) != p.frequency || p.second > v.newest {
			continue
		}
		if _, found := v.values[p]; !found && !slices.Contains(m.allowed(p, power), absent) {
			differs(p, "is lost, want one of %v; events %+v; durable %d, firm %d of %d", m.allowed(p, power), m.places[p], m.durable, m.firm, m.n)
		}
	}
	for p, from := range former {
		if _, found := v.values[p]; found {
			continue
		}
		for _, q := range from {
			if near := max(p.second-q.second, q.second-p.second); 2*near < p.frequency && !slices.Contains(m.allowed(q, power), absent) && p.second >= m.horizon && p.second <= v.newest-p.frequency {
				differs(p, "is empty, but a former sample goes there: %+v, one of %v", q, m.allowed(q, power))
			}
		}
	}
	return nilOr(first)
}

// sentFor returns the places for which a value was sent.
func (m *model) sentFor(value float64) (places []place) {
	for _, p := range m.sorted() {
		if slices.ContainsFunc(m.places[p], func(e event) bool { return e.outcome == value }) {
			places = append(places, p)
		}
	}
	return places
}

func nilOr(d *difference) error {
	if d == nil {
		return nil
	}
	return d
}

// former returns the places of other frequencies by the places where a view shows them.
func (m *model) former(v view) map[place][]place {
	all := make(map[place][]place)
	for q := range m.places {
		f := v.frequency(q.series)
		if f == 0 || f == q.frequency {
			continue
		}
		phase := v.phases[q.series]
		before := (q.second-phase)/f*f + phase
		for _, second := range []int64{before, before + f} {
			if near := max(second-q.second, q.second-second); 2*near <= f {
				p := place{q.series, f, second}
				all[p] = append(all[p], q)
			}
		}
	}
	return all
}

// settle records what a restart has shown: it can no longer change. After a loss of power the disk
// holds nothing else.
func (m *model) settle(v view, power bool) {
	if power {
		m.forget()
	}
	if v.stale {
		return
	}
	for p, events := range m.places {
		if v.frequency(p.series) != p.frequency || p.second < m.horizon || p.second > v.newest || len(m.allowed(p, power)) == 1 {
			continue
		}
		value, found := v.values[p]
		switch {
		case !found && v.partial:
			continue
		case !found:
			value = absent
		case !slices.Contains(m.allowed(p, power), value): // a former sample is shown
			value = absent
		}
		m.places[p] = append(events, event{n: m.n, outcome: value, acked: true, observed: true})
	}
	m.n++
	if power {
		m.firm, m.durable = m.n, m.n
	}
}

// sorted returns the places in order.
func (m *model) sorted() []place { return slices.SortedFunc(maps.Keys(m.places), comparePlaces) }
