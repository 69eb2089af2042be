package memstore

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore/block"
)

// learning is a store of a host with eight hwthreads.
type learning struct {
	*Store
	t      *testing.T
	now    int64
	random *rand.Rand
}

func newLearning(t *testing.T) *learning {
	l := &learning{t: t, now: base, random: rand.New(rand.NewPCG(1, 1))}
	l.Store = newStoreFor(t, func() time.Time { return time.Unix(l.now, 0) }, 4*time.Hour) // windows of 24 minutes
	return l
}

func (l *learning) run(minutes int) {
	l.t.Helper()
	for range minutes {
		l.now += 60
		var batch []Sample
		for i := range 8 {
			batch = append(batch, Sample{series(l.t, l.Store, "n1", "power", thread(fmt.Sprint(i))), l.now * 1000, l.random.NormFloat64()})
		}
		if refused, err := l.Write(batch); err != nil || len(refused) > 0 {
			l.t.Fatal(refused, err)
		}
		maintain(l.t, l.Store)
	}
	checkAccount(l.t, l.Store, "after %d minutes", minutes)
}

func (l *learning) ask(ids ...string) {
	l.t.Helper()
	sel := Selection{Cluster: "alpha", Host: "n1", Metric: "power", Type: "hwthread", TypeIDs: ids}
	checkAnswers(l.t, l.Store, sel, Range{From: base, To: l.now + 60}, "at %d", l.now)
}

// askOnce asks as a single query.
func (l *learning) askOnce(ids ...string) {
	l.t.Helper()
	read(l.t, l.Store, Selection{Cluster: "alpha", Host: "n1", Metric: "power", Type: "hwthread", TypeIDs: ids}, Range{From: l.now - 600, To: l.now + 60})
}

// keep returns how many of the blocks keep the sum of the hwthreads.
func (l *learning) keep(ids ...uint32) (n int) {
	for _, g := range l.host("alpha", "n1").lanes[0].segments {
		if g.sealed != nil {
			if _, ok := g.sealed.FindAggregate(block.AppendSet(nil, ids)); ok {
				n++
			}
		}
	}
	return n
}

// A set that was asked for twice is learned: new and merged blocks keep its sum, also for the time
// before. After a day without such a query, new blocks do not keep it.
func TestLearnedSets(t *testing.T) {
	l := newLearning(t)
	l.run(30)
	l.askOnce("0", "1")
	l.ask("0", "2", "1", "3")
	l.run(100)
	if n := l.keep(0, 1); n != 0 {
		t.Errorf("%d blocks keep a sum that was asked for once", n)
	}
	if n := l.keep(0, 1, 2, 3); n == 0 {
		t.Error("no block keeps a sum that was asked for repeatedly")
	}
	merged := 0
	for _, g := range l.host("alpha", "n1").lanes[0].segments {
		if g.generation == 0 {
			continue
		}
		merged++
		if _, ok := g.sealed.FindAggregate(block.AppendSet(nil, []uint32{0, 1, 2, 3})); !ok {
			t.Errorf("the merged block from slot %d does not keep the sum", g.first)
		}
	}
	if merged == 0 {
		t.Error("nothing was merged")
	}
	l.ask("3", "2", "1", "0")
	l.run(24*60 + 300)
	if n := l.keep(0, 1, 2, 3); n != 0 {
		t.Errorf("%d blocks keep a sum that no one asked for in a day", n)
	}
	if n := l.keep(0, 1, 2, 3, 4, 5, 6, 7); n == 0 {
		t.Error("no block keeps the sum of all hwthreads")
	}
	l.askOnce("0", "1", "2", "3")
	if x := l.host("alpha", "n1").lanes[0].learned.all; len(x) != 2 || x[1].times != 1 {
		t.Errorf("after a day, a set is remembered as %+v", x)
	}
}

// A lane learns a limited number of sets. The one that was asked for the longest time ago is
// forgotten.
func TestLearnedSetsAreLimited(t *testing.T) {
	l := newLearning(t)
	l.run(30)
	for range 3 {
		for i := range 8 {
			for k := range i {
				l.now++
				l.askOnce(fmt.Sprint(i), fmt.Sprint(k))
			}
		}
		l.now++
		l.askOnce("0", "1")
	}
	checkAccount(t, l.Store, "after many sets")
	learned := l.host("alpha", "n1").lanes[0].learned.all
	if len(learned) != maxLearned {
		t.Fatalf("%d sets are remembered", len(learned))
	}
	newest := 0
	for i, x := range learned {
		if x.last > learned[newest].last {
			newest = i
		}
	}
	if x := learned[newest]; x.key != string(block.AppendSet(nil, []uint32{0, 1})) {
		t.Errorf("the newest set is %v", block.Set(x.key).Numbers())
	}
}

// Whole levels and series that are named twice are not learned. A set is forgotten with its series.
func TestSetsThatAreNotLearned(t *testing.T) {
	l := newLearning(t)
	l.run(60)
	for range 3 {
		l.askOnce("7", "0", "1", "2", "3", "4", "5", "6")
		l.askOnce("0", "0", "1")
		l.askOnce("0")
		l.askOnce("nobody", "0")
		read(t, l.Store, Selection{Cluster: "alpha", Host: "n1", Metric: "power"}, Range{From: base, To: l.now})
	}
	if x := l.host("alpha", "n1").lanes[0].learned.all; len(x) != 0 {
		t.Errorf("learned %+v", x)
	}
	l.ask("1", "2")
	l.ask("3", "4")
	l.Free([][]string{{"alpha"}, {"n1"}, {"hwthread1"}}, l.now)
	if x := l.host("alpha", "n1").lanes[0].learned.all; len(x) != 1 || x[0].key != string(block.AppendSet(nil, []uint32{3, 4})) {
		t.Errorf("after a free: %+v", x)
	}
	checkAccount(t, l.Store, "after a free")
}
