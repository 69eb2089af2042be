package jobs

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth"
)

// base is the start of the tests' clock.
const base = int64(1_795_200_000)

// clock is the tests' clock.
type clock struct{ now int64 }

func (c *clock) index() *Index {
	if c.now == 0 {
		c.now = base
	}
	return New(Options{Keep: 48 * time.Hour, Now: func() time.Time { return time.Unix(c.now, 0) }})
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// jobOn returns a job with whole nodes.
func jobOn(user string, id, start, end int64, hosts ...string) Job {
	j := Job{ID: id, Cluster: "emmy", User: user, Project: "p-" + user, Start: start, End: end}
	for _, h := range hosts {
		j.Nodes = append(j.Nodes, Node{Host: h})
	}
	return j
}

// seen returns the grants of a view on a host as text.
func seen(v View, host string) string {
	grants := v.Grants("emmy", host)
	slices.SortFunc(grants, func(a, b Grant) int { return int(a.From - b.From) })
	text := ""
	for _, g := range grants {
		to := fmt.Sprint(g.To - base)
		if g.To > 1<<40 {
			to = "open"
		}
		text += fmt.Sprintf("[%d %s)", g.From-base, to)
		if g.Devices != nil {
			text += fmt.Sprint(g.Devices.HWThreads, g.Devices.Accelerators)
		}
	}
	return text
}

func (ix *Index) own(user string) View { return ix.View(user, nil) }

func admin() *auth.Principal { return &auth.Principal{Subject: "root", Roles: auth.Admin} }

// randomJob returns a job of one of 6 users on some of 12 hosts of two clusters. Some hosts are
// shared.
func randomJob(r *rand.Rand, id int64) Job {
	j := Job{
		ID: id, Cluster: []string{"emmy", "fritz"}[r.IntN(2)], User: fmt.Sprintf("u%d", r.IntN(6)), Project: fmt.Sprintf("p%d", r.IntN(3)),
		Start: base - r.Int64N(90*3600),
	}
	j.End = j.Start + r.Int64N(20_000)
	for _, h := range r.Perm(12)[:1+r.IntN(4)] {
		n := Node{Host: fmt.Sprintf("h%02d", h)}
		if r.IntN(4) == 0 {
			n.Devices = &Devices{HWThreads: sorted([]int{r.IntN(8), r.IntN(8)})}
			if r.IntN(2) == 0 {
				n.Devices.Accelerators = []string{"00000000:49:00.0"}
			}
		}
		j.Nodes = append(j.Nodes, n)
	}
	return j
}
