package ingest

import (
	"fmt"
	"reflect"
	"testing"
)

// Lines of a cluster that the sender may not write to are rejected, whether their series are cached
// or not, and create no series. The other lines of the batch are stored.
func TestClustersOfTheSender(t *testing.T) {
	line := func(cluster, rest string) string {
		return fmt.Sprintf("load,cluster=%s,hostname=n%s 1795308600\n", cluster, rest)
	}
	const rest = " value=1"
	bad := func(lines ...int) (list []Rejected) {
		for _, n := range lines {
			list = append(list, Rejected{n, "not permitted on this cluster"})
		}
		return list
	}
	f := func(name, batch string, accepted, unknown int, rejected ...int) {
		t.Run(name, func(t *testing.T) {
			g, s := newIngester(t, nil, "load")
			restricted := Source{Cluster: "b", May: func(cluster string) bool { return cluster == "a" }}
			want := Report{
				Accepted: accepted, Unknown: unknown, Rejected: bad(rejected...), RejectedTotal: len(rejected), Forbidden: len(rejected),
			}
			check := func() {
				t.Helper()
				got, err := g.Batch(t.Context(), restricted, []byte(batch))
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
				}
			}
			check()
			check() // now some keys are cached
			if hosts := s.Hosts("b"); len(hosts) > 0 {
				t.Errorf("series of the other cluster: %q", hosts)
			}
			// Now a sender without a restriction.
			if _, err := g.Batch(t.Context(), Source{Cluster: "b"}, []byte(batch)); err != nil {
				t.Fatal(err)
			}
			check()
		})
	}
	f("an empty batch", "", 0, 0)
	f("the permitted cluster", line("a", rest), 1, 0)
	f("the other cluster", line("b", rest), 0, 0, 1)
	f("the other cluster by default", "load,hostname=n value=1 1795308600", 0, 0, 1)
	f("both clusters", line("b", rest)+line("a", rest)+line("b", rest)+line("a", rest), 2, 0, 1, 3)
	f("ignored tags", line("b", ",unit=x"+rest)+line("b", ",unit=y"+rest)+line("a", rest), 1, 0, 1, 2)
	f("an unknown metric", "none,cluster=a,hostname=n value=1\n"+line("a", rest), 1, 1)
}
