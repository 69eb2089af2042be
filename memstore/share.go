package memstore

import (
	"cmp"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"
)

// What one cluster's senders do must not cost another cluster its data. Each cluster has a share of
// the memory and of the hosts: its own one, or an equal part. It may hold more than that as long as
// no other cluster needs it.

// ClusterLimits bound what one cluster holds. Zero fields mean no limit of its own.
type ClusterLimits struct {
	Hosts  int
	Series int
	Memory int64 // bytes that it may keep while memory is short; more are evicted first
}

// AnyCluster stands for all clusters without limits of their own.
const AnyCluster = "*"

// ofCluster returns the limits of a cluster.
func (l *Limits) ofCluster(name string) ClusterLimits {
	if own, ok := l.ByCluster[name]; ok {
		return own
	}
	return l.ByCluster[AnyCluster]
}

// minRest is the part of a total that clusters without an own share have at least, all together.
const minRest = 1. / 16

// equalShare returns the share of each cluster without an own one. own are the own shares of all
// clusters, 0 if there is none.
func equalShare(total float64, own iter.Seq[float64]) float64 {
	rest, n := total, 0.
	for share := range own {
		if rest -= share; share == 0 {
			n++
		}
	}
	return max(rest, total*minRest) / max(n, 1)
}

// hostsForAll is the part of the limit of hosts that any cluster may use. The rest is kept for
// clusters below their share.
const hostsForAll = 0.75

// checkHosts returns an error that wraps [ErrLimit] if a cluster, which need not exist, may not have
// another host now; the store is locked. What is restored was accepted before.
func (s *Store) checkHosts(name string) error {
	if s.restoring.Load() {
		return nil
	}
	own, n := s.limits.ofCluster(name).Hosts, len(s.clusters[name].all())
	switch {
	case s.hosts >= s.limits.Hosts:
		return fmt.Errorf("%w: %d hosts", ErrLimit, s.limits.Hosts)
	case own > 0 && n >= own:
		return fmt.Errorf("%w: %d hosts of this cluster", ErrLimit, own)
	case n == 0 && s.tooManyClusters(name):
		return fmt.Errorf("%w: %d clusters", ErrLimit, s.limits.Clusters)
	case own == 0 && float64(s.hosts) >= hostsForAll*float64(s.limits.Hosts):
		share := equalShare(float64(s.limits.Hosts), func(yield func(float64) bool) {
			for other := range s.expectedClusters(name) {
				if !yield(float64(s.limits.ofCluster(other).Hosts)) {
					return
				}
			}
		})
		if float64(n) >= share {
			return fmt.Errorf("%w: %d hosts; the rest is kept for clusters with fewer hosts", ErrLimit, s.hosts)
		}
	}
	return nil
}

// tooManyClusters reports whether a cluster would be one too many; the store is locked.
func (s *Store) tooManyClusters(name string) bool {
	if _, named := s.limits.ByCluster[name]; named {
		return false
	}
	n := 0
	for other := range s.clusters {
		if _, named := s.limits.ByCluster[other]; !named {
			n++
		}
	}
	return n >= s.limits.Clusters
}

// expectedClusters yields the clusters that hold hosts, those with limits of their own, and one more,
// each once; the store is locked.
func (s *Store) expectedClusters(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for other := range s.clusters {
			if other != name && !yield(other) {
				return
			}
		}
		for other := range s.limits.ByCluster {
			if s.clusters[other] == nil && other != name && other != AnyCluster && !yield(other) {
				return
			}
		}
		yield(name)
	}
}

// checkSeries returns an error that wraps [ErrLimit] if a cluster may not have another series.
func (s *Store) checkSeries(c *cluster) error {
	own := s.limits.ofCluster(c.name).Series
	if own > 0 && c.series.Load() >= int64(own) && !s.restoring.Load() {
		return fmt.Errorf("%w: %d series of this cluster", ErrLimit, own)
	}
	return nil
}

// aboveShare reports whether the cluster holds more than it may keep while memory is short.
func (c *cluster) aboveShare() bool { return c.used.Load() > c.share.Load() }

// full reports whether a cluster, nil for an unknown one, may not grow now. While nothing can be
// evicted, clusters above their share must leave the last memory to the others.
func (s *Store) full(c *cluster) bool {
	return s.memory.full() || s.memory.exhausted.Load() && c != nil && c.aboveShare() && s.memory.above(keptAbove)
}

// shareMemory sets what each cluster may keep while memory is short. What some clusters do not use
// of their shares is divided among the others in proportion to theirs. The store is locked, at least
// for reading.
func (s *Store) shareMemory() {
	left := evictDownTo*float64(s.memory.limit) - float64(s.memory.used.Load())
	type claim struct {
		*cluster
		used, share float64
	}
	var claims []claim
	for name, c := range s.clusters {
		x := claim{c, float64(c.used.Load()), float64(s.limits.ofCluster(name).Memory)}
		left += x.used
		claims = append(claims, x)
	}
	left = max(left, 0) // for all clusters: what others hold is not theirs
	equal := equalShare(left, func(yield func(float64) bool) {
		for _, x := range claims {
			if !yield(x.share) {
				return
			}
		}
	})
	sum := 0.
	for i := range claims {
		if claims[i].share == 0 {
			claims[i].share = max(equal, 1)
		}
		sum += claims[i].share
	}
	slices.SortFunc(claims, func(a, b claim) int {
		return cmp.Or(cmp.Compare(a.used*b.share, b.used*a.share), strings.Compare(a.name, b.name))
	})
	// Those that use the smallest part of their share come first. As soon as one does not get what it
	// uses, none of the others does.
	factor := math.Inf(1)
	for _, x := range claims {
		if factor = left / sum; x.used > factor*x.share {
			break
		}
		left, sum, factor = left-x.used, sum-x.share, math.Inf(1)
	}
	for _, x := range claims {
		share := int64(math.MaxInt64)
		if !math.IsInf(factor, 0) {
			share = int64(factor * x.share)
		}
		x.cluster.share.Store(share)
	}
}

// ClusterUsage is what a cluster holds.
type ClusterUsage struct {
	Cluster string
	Hosts   int
	Series  int
	Bytes   int64
	Evicted int64 // windows, since the cluster got its first host
}

// ClusterUsage returns the usage of each cluster, sorted by name. Unlike [Store.Usage] it is cheap.
func (s *Store) ClusterUsage() []ClusterUsage {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]ClusterUsage, 0, len(s.clusters))
	for name, c := range s.clusters {
		all = append(all, ClusterUsage{name, len(c.hosts), int(c.series.Load()), c.used.Load(), c.evicted.Load()})
	}
	slices.SortFunc(all, func(a, b ClusterUsage) int { return strings.Compare(a.Cluster, b.Cluster) })
	return all
}
