package memstore

import (
	"maps"
	"math"
	"sync/atomic"
)

// cluster is the hosts of one cluster. The store's lock guards name, hosts and peak.
type cluster struct {
	name  string
	hosts map[string]*host
	peak  int // the largest number of hosts since the map was made

	used    atomic.Int64 // bytes of its hosts, by the memory accounting
	share   atomic.Int64 // bytes that it may keep while memory is short, see [Store.shareMemory]
	series  atomic.Int64
	evicted atomic.Int64 // windows
}

// all returns the hosts by name; there may be no cluster.
func (c *cluster) all() map[string]*host {
	if c == nil {
		return nil
	}
	return c.hosts
}

// clusterOrNew returns a cluster, which it adds if necessary; the store is locked.
func (s *Store) clusterOrNew(name string) *cluster {
	c := s.clusters[name]
	if c == nil {
		c = &cluster{name: name, hosts: make(map[string]*host)}
		c.share.Store(math.MaxInt64)
		s.clusters[name] = c
		if s.memory.exhausted.Load() {
			s.shareMemory()
		}
		s.memory.add(clusterBytes)
	}
	return c
}

// removeHost removes a host from its cluster, and a cluster without hosts; the store is locked.
func (s *Store) removeHost(h *host) {
	c := h.owner
	delete(c.hosts, h.name)
	s.hosts--
	switch {
	case len(c.hosts) == 0:
		delete(s.clusters, c.name)
		s.memory.add(-clusterBytes)
	case len(c.hosts) < c.peak/2: // a map never shrinks
		c.hosts, c.peak = maps.Collect(maps.All(c.hosts)), len(c.hosts)
	}
}
