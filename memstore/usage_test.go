package memstore

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
)

func TestUsage(t *testing.T) {
	s := newStore(t, clockAt(base+86400))
	byName := func(all []Usage) []Usage {
		return slices.SortedFunc(slices.Values(all), func(a, b Usage) int { return cmp.Compare(a.Name, b.Name) })
	}
	if hosts, metrics := s.Usage(); len(hosts)+len(metrics) > 0 {
		t.Errorf("of nothing: %v, %v", hosts, metrics)
	}
	values := make([]float64, 1000) // several windows, the last one open
	for i := range values {
		values[i] = float64(i) / 7
	}
	put(t, s, series(t, s, "h1", "load", Device{}), base, values...)
	for i := range 4 {
		put(t, s, series(t, s, "h1", "power", thread(fmt.Sprint(i))), base, values...)
	}
	put(t, s, series(t, s, "h2", "load", Device{}), base, 1, 2, 3)
	size := s.Size()
	hosts, metrics := s.Usage()
	hosts, metrics = byName(hosts), byName(metrics)
	if len(hosts) != 2 || hosts[0].Cluster != "alpha" || hosts[0].Name != "h1" || hosts[0].Series != 5 || hosts[1].Series != 1 {
		t.Errorf("hosts: %+v", hosts)
	}
	if len(metrics) != 2 || metrics[0].Name != "load" || metrics[0].Series != 2 || metrics[1].Series != 4 {
		t.Errorf("metrics: %+v", metrics)
	}
	ofHosts, ofMetrics := hosts[0].Bytes+hosts[1].Bytes, metrics[0].Bytes+metrics[1].Bytes
	if size.Blocks == 0 || ofHosts > size.Bytes || ofHosts < size.BlockBytes || ofMetrics > ofHosts || ofMetrics < ofHosts/3 {
		t.Errorf("%d bytes of hosts, %d of metrics, the store has %+v", ofHosts, ofMetrics, size)
	}
	if hosts[1].Bytes <= 0 || hosts[0].Bytes < 5*hosts[1].Bytes || metrics[1].Bytes < 2*metrics[0].Bytes {
		t.Errorf("the shares are off: %+v, %+v", hosts, metrics)
	}
}
