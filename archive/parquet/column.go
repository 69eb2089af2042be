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
	Values []float64 // one per time; never NaN, which means no sample
}

// Compare compares columns by their order in a file: by host, metric, scope and scope id
// (bytewise), then by first time.
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

// check returns an error if the column may not follow prev in a file of the day.
func (c Column) check(day Day, prev *Column) error {
	if len(c.Times) != len(c.Values) {
		return c.errorf("expected a value per time, got %d times and %d values", len(c.Times), len(c.Values))
	}
	for _, s := range [...]string{c.Host, c.Metric, c.Scope, c.ScopeID} {
		if !utf8.ValidString(s) {
			return c.errorf("expected UTF-8, got the name %q", s)
		}
	}
	last := int64(day) * unixtime.SecondsPerDay
	end := last + unixtime.SecondsPerDay
	if prev != nil {
		switch order := c.compareSeries(*prev); {
		case order < 0:
			return c.errorf("expected columns in order, got it after %s", prev)
		case order == 0:
			last = max(last, prev.Times[len(prev.Times)-1])
		}
	}
	for i, t := range c.Times {
		if t < last || t >= end {
			return c.errorf("expected ascending times of %s, got %d", day, t)
		}
		if c.Values[i] != c.Values[i] {
			return c.errorf("expected a number at %d, got NaN", t)
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

// Scope returns the scope and scope id of a device's rows. No two devices have the same pair.
//
//	node                                       node                     (empty)
//	hwthread 3                                 hwthread                 3
//	node, network eth0                         node/network             eth0
//	accelerator 00000000:49:00.0, engine 1     accelerator/engine       00000000:49:00.0/1
//
// The scope is the type, followed by a slash and the subtype; the id is the type's id, followed by
// a slash and the subtype's id. A node has no id. In a type, and in its id if there is a subtype,
// "/" becomes %2F and "%" becomes %25, so that the first slash is the separator.
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
