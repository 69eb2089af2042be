package parquet

import (
	"cmp"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/ringstore/ringstore/memstore"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

// Column is a run of samples of one series.
type Column struct {
	Host, Metric   string
	Scope, ScopeID string // see [Scope]
	Frequency      int64  // seconds between samples

	Times  []int64   // Unix seconds, ascending
	Values []float64 // as many; not NaN, which would be no sample
}

// Compare orders columns as a file has them: by host, metric, scope, scope id
// (bytewise), and then by their first times.
func (c Column) Compare(o Column) int {
	first := func(c Column) int64 {
		if len(c.Times) == 0 {
			return 0
		}
		return c.Times[0]
	}
	return cmp.Or(c.compareSeries(o), cmp.Compare(first(c), first(o)))
}

func (c Column) compareSeries(o Column) int {
	return cmp.Or(
		strings.Compare(c.Host, o.Host),
		strings.Compare(c.Metric, o.Metric),
		strings.Compare(c.Scope, o.Scope),
		strings.Compare(c.ScopeID, o.ScopeID),
	)
}

// check returns what is wrong with a column that follows prev in a file of the day.
func (c Column) check(day Day, prev *Column) error {
	if len(c.Times) != len(c.Values) {
		return c.errorf("%d times and %d values", len(c.Times), len(c.Values))
	}
	for _, s := range [...]string{c.Host, c.Metric, c.Scope, c.ScopeID} {
		if !utf8.ValidString(s) {
			return c.errorf("the name %q is not UTF-8", s)
		}
	}
	last := int64(day) * unixtime.SecondsPerDay
	end := last + unixtime.SecondsPerDay
	if prev != nil {
		switch order := c.compareSeries(*prev); {
		case order < 0:
			return c.errorf("comes behind %s", prev)
		case order == 0:
			last = max(last, prev.Times[len(prev.Times)-1])
		}
	}
	for i, t := range c.Times {
		if t < last || t >= end {
			return c.errorf("the time %d is not in %s, or before another", t, day)
		}
		if c.Values[i] != c.Values[i] {
			return c.errorf("the value at %d is NaN", t)
		}
		last = t
	}
	return nil
}

func (c Column) errorf(format string, args ...any) error {
	return fmt.Errorf("column %s: %s", c, fmt.Sprintf(format, args...))
}

// String returns the path of the series.
func (c Column) String() string {
	return fmt.Sprintf("%q %q %q %q", c.Host, c.Metric, c.Scope, c.ScopeID)
}

const node = "node"

// Scope maps a device to the scope and scope id of its rows. No two devices
// share both.
//
//	node                                       node                     (empty)
//	hwthread 3                                 hwthread                 3
//	node, network eth0                         node/network             eth0
//	accelerator 00000000:49:00.0, engine 1     accelerator/engine       00000000:49:00.0/1
//
// The scope is the type, and behind a slash the subtype; the id is that of the
// type, and behind a slash that of the subtype. A node has no id. A "/" that is
// part of a type, or of the id of a type with a subtype, becomes %2F, and a "%"
// there %25, so that the first slash is where to cut.
func Scope(d memstore.Device) (scope, id string) {
	scope, id = escapeSlash(d.Type), d.TypeID
	if d.Type == node || d.Type == "" && d.TypeID == "" {
		scope, id = node, ""
	}
	switch {
	case d.Subtype == "" && d.SubtypeID == "":
		return scope, id
	case scope == node:
		return scope + "/" + d.Subtype, d.SubtypeID
	}
	return scope + "/" + d.Subtype, escapeSlash(id) + "/" + d.SubtypeID
}

func escapeSlash(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "%", "%25"), "/", "%2F")
}
