package ingest

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// listed are points from a list, whose keys it overwrites as the contract allows.
type listed struct {
	lines []lineprotocol.Line
	errs  map[int]error // by index
	at    int
	key   []byte
}

func (p *listed) Next(l *lineprotocol.Line) (bool, error) {
	for i := range p.key {
		p.key[i] = '!'
	}
	if p.at == len(p.lines) {
		return false, nil
	}
	*l = p.lines[p.at]
	p.key = append(p.key[:0], l.Key...)
	l.Key = p.key
	p.at++
	return true, p.errs[p.at-1]
}

func TestPoints(t *testing.T) {
	g, s := newIngester(t, nil, "load")
	p := &listed{errs: make(map[int]error)}
	add := func(key string, seconds int64, v float64) {
		p.lines = append(p.lines, lineprotocol.Line{Key: []byte(key), Time: seconds * 1000, Value: v, HasTime: true})
	}
	for i := range 3 * pointsAtOnce { // several pieces, and a key of several points
		add(fmt.Sprintf("load,hostname=n%d,type=socket,type-id=%d", i%7, i/70), now, float64(i))
	}
	last := len(p.lines)
	p.errs[last] = errors.New("no label __name__")
	add("bad", now, 1)
	add("load,hostname=n1", now, math.Inf(1))
	add("load,hostname=n2", 1, 1)
	add("nope,hostname=n2", now, 1)
	add("load", now, 1)
	got, err := g.Points(t.Context(), Source{Cluster: "a", Transport: "http"}, p, 1)
	want := Report{Accepted: last + 1, RejectedTotal: 3, Unknown: 1, Rejected: []Rejected{
		{last + 1, "no label __name__"},
		{last + 3, string(memstore.RefusedOld) + ": 1000 ms is 1970-01-01T00:00:01Z"},
		{last + 5, "no hostname tag"},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	for _, i := range []int{0, 69, pointsAtOnce, last - 1} {
		sel := memstore.Selection{Cluster: "a", Host: fmt.Sprintf("n%d", i%7), Metric: "load", Type: "socket", TypeIDs: []string{fmt.Sprint(i / 70)}}
		latest := min(last-1, i/70*70+69)
		for latest%7 != i%7 {
			latest--
		}
		if v, ok := at(s, sel, now); !ok || v != float64(latest) {
			t.Errorf("point %d: %v, want %v", i, v, latest)
		}
	}
	if v, ok := at(s, memstore.Selection{Cluster: "a", Host: "n1", Metric: "load", Type: "node"}, now); !ok || !math.IsInf(v, 1) {
		t.Errorf("infinity became %v", v)
	}
	// A chunk that held points reads lines again.
	if got, err := g.Batch(t.Context(), Source{Cluster: "a", Transport: "http"}, []byte("load,hostname=n9 value=1\n")); err != nil || got.Accepted != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Keys of points take bounded memory: long ones end a piece.
func TestPointsWithLongKeys(t *testing.T) {
	g, _ := newIngester(t, nil, "load")
	p := new(listed)
	for i := range 1000 {
		key := fmt.Sprintf("load,hostname=n%d,x=%s", i%50, strings.Repeat("x", 4000))
		p.lines = append(p.lines, lineprotocol.Line{Key: []byte(key), Time: now * 1000, Value: 1, HasTime: true})
	}
	if got, err := g.Points(t.Context(), Source{Cluster: "a", Transport: "http"}, p, 1); err != nil || got.Accepted != 1000 {
		t.Errorf("%+v, %v", got, err)
	}
	if c := g.chunk(); cap(c.points.keys) > 2*chunkBytes {
		t.Errorf("%d bytes of keys", cap(c.points.keys))
	}
}
