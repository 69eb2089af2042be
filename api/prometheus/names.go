package prometheus

import (
	"slices"
	"strings"

	"github.com/prometheus/prometheus/model/labels"

	"github.com/ringstore/ringstore/memstore"
)

// The labels of a series.
const (
	nameLabel    = "__name__"
	clusterLabel = "cluster"
	hostLabel    = "hostname"
	typeLabel    = "type"
	typeIDLabel  = "type_id"
	stypeLabel   = "stype"
	stypeIDLabel = "stype_id"
)

const (
	nodeType    = "node"  // the type of the node itself
	wholePrefix = "node:" // of the names of aggregates over a node
)

// allLabels are the labels of any series, sorted.
var allLabels = [...]string{nameLabel, clusterLabel, hostLabel, stypeLabel, stypeIDLabel, typeLabel, typeIDLabel}

// name is the value of __name__ of the series of a metric.
type name struct {
	text   string
	metric int  // index in Options.Metrics
	whole  bool // the aggregate over a node
}

// namesOf returns the names of all metrics and of their aggregates over a node, sorted.
func namesOf(metrics []Metric) []name {
	var all []name
	for i, m := range metrics {
		all = append(all, name{m.Name, i, false})
		switch m.Aggregation {
		case memstore.AggregateSum:
			all = append(all, name{wholePrefix + m.Name + ":sum", i, true})
		case memstore.AggregateAvg:
			all = append(all, name{wholePrefix + m.Name + ":avg", i, true})
		}
	}
	slices.SortStableFunc(all, func(a, b name) int { return strings.Compare(a.text, b.text) })
	return slices.CompactFunc(all, func(a, b name) bool { return a.text == b.text })
}

// id is what identifies a series.
type id struct {
	cluster, host string
	name          *name
	device        memstore.Device
}

// labels appends the labels of a series to b and returns them.
func (s *id) labels(b *labels.ScratchBuilder) labels.Labels {
	b.Reset()
	b.Add(nameLabel, s.name.text)
	b.Add(clusterLabel, s.cluster)
	b.Add(hostLabel, s.host)
	for _, l := range [...]string{stypeLabel, stypeIDLabel, typeLabel, typeIDLabel} {
		if v := s.label(l); v != "" {
			b.Add(l, v)
		}
	}
	return b.Labels()
}

// label returns the value of a label; empty if the series has none of that name.
func (s *id) label(l string) string {
	switch l {
	case nameLabel:
		return s.name.text
	case clusterLabel:
		return s.cluster
	case hostLabel:
		return s.host
	case typeLabel:
		if s.device.Type == "" && !s.name.whole {
			return nodeType
		}
		return s.device.Type
	case typeIDLabel:
		return s.device.TypeID
	case stypeLabel:
		return s.device.Subtype
	case stypeIDLabel:
		return s.device.SubtypeID
	default:
		return ""
	}
}

// selection returns what to ask the store for.
func (s *id) selection(metric string) memstore.Selection {
	sel := memstore.Selection{Cluster: s.cluster, Host: s.host, Metric: metric}
	if s.device.Type != "" {
		sel.Type, sel.TypeIDs = s.device.Type, []string{s.device.TypeID}
	} else if s.device.Subtype != "" {
		sel.Type = nodeType
	}
	if s.device.Subtype != "" {
		sel.Subtype, sel.SubtypeIDs = s.device.Subtype, []string{s.device.SubtypeID}
	}
	return sel
}
