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
	Interval  time.Duration    // between two polls; default 30 s
	Now       func() time.Time // nil means time.Now
	Log       *slog.Logger     // nil means no log
}

// Nodes polls cc-backend for the hosts of running jobs and returns since when these jobs need the
// samples of a host. Before the first successful poll all samples are needed; after a failed poll
// the last successful one counts. Its methods may be called by many goroutines.
type Nodes struct {
	o    NodesOptions
	last atomic.Pointer[usedHosts]
}

// usedHosts is the result of a poll. It is not changed after its creation.
type usedHosts struct {
	at   time.Time
	used map[node]bool // true if a job on the host began before the retention
}

type node struct{ cluster, host string }

// NewNodes returns a Nodes. Polling starts with [Nodes.Run].
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

// Needed returns since when, in Unix milliseconds, running jobs need the samples of a host;
// [math.MaxInt64] if no job runs there.
func (n *Nodes) Needed(cluster, host string) int64 {
	u := n.last.Load()
	if u == nil {
		return 0
	}
	long, used := u.used[node{cluster, host}]
	switch {
	case !used:
		return math.MaxInt64
	case long:
		return 0 // the start of the job is not known
	default:
		return u.at.Add(-n.o.Retention).UnixMilli()
	}
}

// LastPoll returns when the last successful poll began, or the zero time.
func (n *Nodes) LastPoll() time.Time {
	if u := n.last.Load(); u != nil {
		return u.at
	}
	return time.Time{}
}

// Run polls at once and then at each interval until ctx ends. It logs a failure if its text
// differs from the previous one, and the first success after a failure.
func (n *Nodes) Run(ctx context.Context) {
	defer n.o.Client.Close()
	repeat(ctx, n.o.Interval, n.o.Log, n.Refresh,
		"cannot read from cc-backend where jobs run: samples that running jobs needed at the last poll are kept, and all samples if there was no poll yet",
		"cc-backend reports again where jobs run")
}

// Refresh polls once. After an error the last successful poll still counts.
//
// It reads all running jobs, and those among them that began before the retention: only the latter
// need samples older than the retention.
func (n *Nodes) Refresh(ctx context.Context) error {
	u := &usedHosts{at: n.o.Now(), used: make(map[node]bool)}
	running, err := n.o.Client.UsedNodes(ctx, u.at)
	if err != nil {
		return err
	}
	long, err := n.o.Client.UsedNodes(ctx, u.at.Add(-n.o.Retention))
	if err != nil {
		return fmt.Errorf("jobs older than the retention: %w", err)
	}
	u.add(running, false)
	u.add(long, true)
	n.last.Store(u)
	return nil
}

func (u *usedHosts) add(nodes map[string][]string, long bool) {
	for cluster, hosts := range nodes {
		for _, host := range hosts {
			u.used[node{cluster, host}] = long
		}
	}
}
