package memstore

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// shared is a store that several clusters share.
type shared struct {
	*Store
	t      testing.TB
	now    int64 // seconds
	random *rand.Rand
}

func newShared(t testing.TB, memory int64, l Limits) *shared {
	t.Helper()
	m := &shared{t: t, now: base, random: rand.New(rand.NewPCG(1, 6))}
	var err error
	m.Store, err = New(Options{
		Metrics:     []Metric{{Name: "load", Frequency: time.Minute, Aggregation: AggregateSum}},
		Retention:   48 * time.Hour,
		MemoryLimit: memory,
		Limits:      l,
		Now:         func() time.Time { return time.Unix(m.now, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// step writes an incompressible sample for each of some threads of a host.
func (m *shared) step(cluster, host string, threads int) error {
	m.t.Helper()
	var batch []Sample
	for i := range threads {
		sr, err := m.Series(Key{cluster, host, "load", thread(fmt.Sprint(i))})
		if err != nil {
			return err
		}
		batch = append(batch, Sample{sr, m.now * 1000, m.random.NormFloat64()})
	}
	refused, err := m.Write(batch)
	if len(refused) > 0 {
		m.t.Fatal(refused)
	}
	return err
}

// run writes some minutes of hosts by cluster. No write may fail.
func (m *shared) run(minutes int, hosts map[string]int) {
	m.t.Helper()
	for i := range minutes {
		for cluster, n := range hosts {
			for host := range n {
				if err := m.step(cluster, fmt.Sprint("n", host), 10); err != nil {
					m.t.Fatalf("minute %d, %s: %v", i, cluster, err)
				}
			}
		}
		if m.now += 60; i%10 == 0 {
			maintain(m.t, m.Store)
		}
	}
	maintain(m.t, m.Store)
	checkAccount(m.t, m.Store, "at the end")
	checkClusters(m.t, m.Store)
}

func (m *shared) usage(cluster string) (u ClusterUsage) {
	for _, u := range m.ClusterUsage() {
		if u.Cluster == cluster {
			return u
		}
	}
	return ClusterUsage{Cluster: cluster}
}

// A cluster that comes later costs the one that fills the memory as much as it needs, and no more;
// nothing of its own is evicted before it has its share.
func TestLargeClusterPaysForSmallOne(t *testing.T) {
	const limit = 900_000
	m := newShared(t, limit, Limits{})
	m.run(3000, map[string]int{"large": 4})
	for m.memory.above(0.95) {
		m.run(10, map[string]int{"large": 4})
	}
	before := m.usage("large")
	if before.Evicted == 0 {
		t.Fatalf("the memory is not full: %+v", before)
	}
	if err := m.step("small", "n0", 1); err != nil {
		t.Fatal(err)
	}
	maintain(t, m.Store)
	if after := m.usage("large"); after != before {
		t.Errorf("one sample of another cluster: %+v, before %+v", after, before)
	}
	m.run(1500, map[string]int{"large": 4, "small": 1})
	if u := m.usage("small"); u.Evicted > 0 || u.Bytes > limit/3 {
		t.Fatalf("below its share: %+v", u)
	}
	if u := m.usage("large"); float64(u.Bytes+m.usage("small").Bytes) < 0.85*limit {
		t.Errorf("the large cluster was evicted to %+v", u)
	}
	m.run(3000, map[string]int{"large": 4, "small": 4})
	for _, cluster := range []string{"large", "small"} {
		if u := m.usage(cluster); math.Abs(float64(u.Bytes)-0.95*limit/2) > 0.06*limit {
			t.Errorf("with the same demand: %+v", u)
		}
	}
}

// A cluster with a share of its own keeps it.
func TestOwnShareOfMemory(t *testing.T) {
	const limit = 900_000
	m := newShared(t, limit, Limits{ByCluster: map[string]ClusterLimits{"first": {Memory: 700_000}}})
	m.run(4000, map[string]int{"first": 4, "second": 4})
	first, second := m.usage("first").Bytes, m.usage("second").Bytes
	if first < 600_000 || first > 750_000 || second > 250_000 {
		t.Errorf("%d and %d bytes", first, second)
	}
}

// A cluster that fills the memory with what cannot be evicted is refused before others are, and costs
// them nothing.
func TestOffenderIsRefusedFirst(t *testing.T) {
	m := newShared(t, 8_000_000, Limits{})
	m.run(300, map[string]int{"honest": 2})
	before := m.usage("honest")
	var err error
	for host := 0; err == nil && host < 10_000; host++ {
		err = m.step("hostile", fmt.Sprint("n", host), 50)
	}
	if !errors.Is(err, ErrMemory) {
		t.Fatal(err)
	}
	refused := 0
	for minute := range 15 {
		m.now += 20 // the open windows of the offender stay
		if err := m.step("honest", "n0", 10); err != nil {
			t.Fatalf("step %d of the honest cluster: %v", minute, err)
		}
		if err := m.step("honest", fmt.Sprint("new", minute), 1); err != nil {
			t.Fatalf("new host %d: %v", minute, err)
		}
		if err := m.step("hostile", fmt.Sprint("new", minute), 1); errors.Is(err, ErrMemory) {
			refused++
		}
		if minute%5 == 0 {
			maintain(t, m.Store)
		}
	}
	if refused < 10 {
		t.Errorf("%d of 15 new hosts of the offender were refused", refused)
	}
	if u := m.usage("honest"); u.Evicted > 0 || u.Bytes < before.Bytes {
		t.Errorf("the honest cluster has %+v, before %+v", u, before)
	}
	checkAccount(t, m.Store, "at the end")
	checkClusters(t, m.Store)
}

// The shares of the memory follow from what clusters use.
func TestSharesOfMemory(t *testing.T) {
	const none = int64(math.MaxInt64)
	f := func(name string, own map[string]ClusterLimits, used, want map[string]int64) {
		t.Helper()
		m := newShared(t, 1000, Limits{ByCluster: own}) // 930 are for samples
		for name, n := range used {
			m.clusters[name] = &cluster{name: name}
			m.clusters[name].used.Store(n)
			m.memory.add(n)
		}
		m.memory.add(30) // of nobody
		m.shareMemory()
		for name, c := range m.clusters {
			if got := c.share.Load(); got != want[name] {
				t.Errorf("%s: share %s is %d, want %d", name, name, got, want[name])
			}
		}
	}
	of := func(memory int64) ClusterLimits { return ClusterLimits{Memory: memory} }
	type sizes = map[string]int64
	type limits = map[string]ClusterLimits
	f("alone", nil, sizes{"a": 960}, sizes{"a": 900})
	f("two alike", nil, sizes{"a": 480, "b": 480}, sizes{"a": 450, "b": 450})
	f("a small one", nil, sizes{"a": 960, "b": 10}, sizes{"a": 890, "b": 890})
	f("a single byte", nil, sizes{"a": 899, "b": 1}, sizes{"a": none, "b": none})
	f("three", nil, sizes{"a": 600, "b": 360, "c": 10}, sizes{"a": 530, "b": 530, "c": 530})
	f("own ones", limits{"a": of(700)}, sizes{"a": 800, "b": 800}, sizes{"a": 700, "b": 200})
	f("own ones, unused", limits{"a": of(700)}, sizes{"a": 100, "b": 900}, sizes{"a": 2800, "b": 800})
	f("own ones of all", limits{"*": of(100)}, sizes{"a": 480, "b": 480}, sizes{"a": 450, "b": 450})
	f("own ones beyond the limit", limits{"a": of(10_000)}, sizes{"a": 900, "b": 900}, sizes{"a": 894, "b": 5})
	f("nothing left", nil, sizes{"a": 1, "b": 2000}, sizes{"a": 929 - 30, "b": 929 - 30})
}

// hosts adds hosts with one sample each, and returns how many were accepted before one was refused.
func (m *shared) hosts(cluster string, n int) (accepted int, err error) {
	m.t.Helper()
	for i := range n {
		if err := m.step(cluster, fmt.Sprint("h", i), 1); err != nil {
			if !errors.Is(err, ErrLimit) {
				m.t.Fatal(err)
			}
			return i, err
		}
	}
	return n, nil
}

// The last quarter of the hosts is kept for clusters below their share.
func TestHostsAreShared(t *testing.T) {
	m := newShared(t, 0, Limits{Hosts: 100})
	f := func(cluster string, n, want int, reason string) {
		t.Helper()
		got, err := m.hosts(cluster, n)
		if got != want || (err == nil) != (reason == "") || err != nil && !strings.Contains(err.Error(), reason) {
			t.Errorf("%s has %d hosts, %v; want %d, %q", cluster, got, err, want, reason)
		}
	}
	f("honest", 5, 5, "")
	f("hostile", 250, 70, "75 hosts; the rest is kept for clusters with fewer hosts")
	f("honest", 20, 20, "")
	f("third", 100, 10, "100 hosts")
	f("hostile", 70, 70, "") // known ones
	m.Free([][]string{{"third"}}, m.now)
	f("honest", 100, 30, "100 hosts")
	f("hostile", 71, 70, "limit reached")

	m = newShared(t, 0, Limits{Hosts: 100})
	f("alone", 120, 100, "100 hosts")
}

func TestOwnLimits(t *testing.T) {
	m := newShared(t, 0, Limits{Hosts: 100, Clusters: 2, ByCluster: map[string]ClusterLimits{
		"ten": {Hosts: 10}, "*": {Hosts: 20, Series: 25}, "any": {},
	}})
	f := func(cluster string, n, want int, reason string) {
		t.Helper()
		got, err := m.hosts(cluster, n)
		if got != want || (err == nil) != (reason == "") || err != nil && !strings.Contains(err.Error(), reason) {
			t.Errorf("%s has %d hosts, %v; want %d, %q", cluster, got, err, want, reason)
		}
	}
	f("ten", 11, 10, "limit reached: 10 hosts of this cluster")
	f("a", 21, 20, "limit reached: 20 hosts of this cluster")
	f("b", 5, 5, "")
	f("c", 1, 0, "limit reached: 2 clusters")
	f("any", 1, 1, "") // has a name
	if err := m.step("b", "h0", 21); err != nil {
		t.Error(err)
	}
	if err := m.step("b", "h0", 22); err == nil || err.Error() != "limit reached: 25 series of this cluster" {
		t.Error(err)
	}
	m.Free([][]string{{"b"}, {"h1"}}, m.now)
	if u := m.usage("b"); u.Series != 24 {
		t.Errorf("%+v", u)
	}
	if err := m.step("b", "h0", 22); err != nil {
		t.Errorf("after one was deleted: %v", err)
	}
	checkAccount(t, m.Store, "at the end")
	checkClusters(t, m.Store)
}

// What was accepted is restored, whatever the limits are now.
func TestLimitsDoNotHoldForARestore(t *testing.T) {
	m := newShared(t, 0, Limits{})
	for _, cluster := range []string{"a", "b", "c"} {
		if n, err := m.hosts(cluster, 5); err != nil {
			t.Fatal(n, err)
		}
	}
	var d memoryDisk
	d.checkpoint(t, m.Store)
	after := newShared(t, 0, Limits{Hosts: 3, Clusters: 1, ByCluster: map[string]ClusterLimits{"*": {Hosts: 1, Series: 1}}})
	d.restore(t, after.Store)
	for _, cluster := range []string{"a", "b", "c"} {
		if u := after.usage(cluster); u.Hosts != 5 || u.Series != 5 {
			t.Errorf("%+v", u)
		}
	}
	if _, err := after.Series(Key{"d", "h", "load", Device{}}); !errors.Is(err, ErrLimit) {
		t.Errorf("a new cluster: %v", err)
	}
}
