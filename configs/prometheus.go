package configs

import (
	"maps"
	"slices"
)

// seriesLabels are the labels that a series has when it is queried, and "instance". They are read as
// they are.
var seriesLabels = []string{"__name__", "cluster", "hostname", "instance", "type", "type_id", "stype", "stype_id"}

func (c checker) prometheus() {
	p := c.config.Prometheus
	c.name("prometheus.cluster", "the cluster", p.Cluster)
	for _, labels := range []struct {
		path string
		of   map[string]string
	}{{"prometheus.device-labels", p.DeviceLabels}, {"prometheus.subtype-labels", p.SubtypeLabels}} {
		for _, label := range slices.Sorted(maps.Keys(labels.of)) {
			c.seriesLabel(joinKey(labels.path, label), label, labels.of[label])
		}
	}
	for label := range p.DeviceLabels {
		if _, both := p.SubtypeLabels[label]; both {
			c.fail(joinKey("prometheus.subtype-labels", label), "is in device-labels already")
		}
	}
}

func (c checker) seriesLabel(path, label, kind string) {
	c.name(path, "the type", kind)
	switch {
	case label == "":
		c.fail(path, "the label is empty")
	case slices.Contains(seriesLabels, label):
		c.fail(path, "%s has a meaning of its own", quote(label))
	case kind == "":
		c.fail(path, `missing: the type, such as "hwthread"`)
	}
}
