package ccbackend

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"
)

// NodesOptions of [Nodes]. Client and Retention are required.
type NodesOptions struct {
	Client    *Client
	Retention time.Duration    // how long samples are kept that no job needs
	Interval  time.Duration    // between two questions; default 30 s
	Now       func() time.Time // nil means time.Now
	Log       *slog.Logger     // nil means silence
}

// Nodes knows from which time on running jobs need the samples of a host, by
// asking again and again. Until the first answer all samples are needed; when
// the backend cannot be asked any more, its last answer counts. Its methods may
// be called by many goroutines.
type Nodes struct {
	o      NodesOptions
	answer atomic.Pointer[answer]
}

// answer is what the backend said, of the hosts of running jobs. It does not
// change.
type answer struct {
	at   time.Time
	used map[node]bool // true if a job began before the retention does
}

type node struct{ cluster, host string }

// NewNodes returns what has not asked yet: that is for [Nodes.Run] to do.
func NewNodes(o NodesOptions) *Nodes {
	if o.Interval <= 0 {
		o.Interval = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Nodes{o: o}
}

// Needed returns from which time on, in Unix milliseconds, running jobs need
// what is held of a host; [math.MaxInt64] if none runs there.
func (n *Nodes) Needed(cluster, host string) int64 {
	a := n.answer.Load()
	if a == nil {
		return 0
	}
	long, used := a.used[node{cluster, host}]
	switch {
	case !used:
		return math.MaxInt64
	case long:
		return 0 // when it began was not asked for
	default:
		return a.at.Add(-n.o.Retention).UnixMilli()
	}
}

// Answered returns when the last answer came, and the zero time before that.
func (n *Nodes) Answered() time.Time {
	if a := n.answer.Load(); a != nil {
		return a.at
	}
	return time.Time{}
}

// Run asks at once, and then at every interval until ctx ends. It logs when the
// backend stops to answer, why, and when it answers again.
func (n *Nodes) Run(ctx context.Context) {
	defer n.o.Client.Close()
	repeat(ctx, n.o.Interval, n.o.Log, n.Refresh,
		"cc-backend does not tell where jobs run: no samples are dropped for their age that it said jobs need, or all if it said nothing yet",
		"cc-backend tells again where jobs run")
}

// Refresh asks once. An error leaves what was known before.
//
// Jobs that began within the retention are asked for as well as those that
// began before it: the samples of the latter are needed past the retention, on
// hosts of the former there are some that no running job needs.
func (n *Nodes) Refresh(ctx context.Context) error {
	a := &answer{at: n.o.Now(), used: make(map[node]bool)}
	running, err := n.o.Client.UsedNodes(ctx, a.at)
	if err != nil {
		return err
	}
	long, err := n.o.Client.UsedNodes(ctx, a.at.Add(-n.o.Retention))
	if err != nil {
		return fmt.Errorf("of long jobs: %w", err)
	}
	a.add(running, false)
	a.add(long, true)
	n.answer.Store(a)
	return nil
}

func (a *answer) add(nodes map[string][]string, long bool) {
	for cluster, hosts := range nodes {
		for _, host := range hosts {
			a.used[node{cluster, host}] = long
		}
	}
}
