package rest

import (
	"context"
	"net/http"
	"strconv"
)

// Operator is what those are answered by who keep the service running. It
// watches all of it, which the handler does not know.
type Operator interface {
	// Status tells how the service is, with the top largest hosts and metrics.
	Status(ctx context.Context, top int) (Status, error)
	// Snapshot makes a consistent copy of all that is stored. The errors are those
	// of the Ingester.
	Snapshot(ctx context.Context) (Snapshot, error)
}

// Status is the answer of /api/status. Times are Unix seconds.
type Status struct {
	Version string   `json:"version"`
	Started int64    `json:"started"`
	Uptime  int64    `json:"uptime"` // seconds
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why it is not ready
	Notes   []string `json:"notes"`   // what else a person should know, as of jobs

	Hosts      int           `json:"hosts"`
	Series     int           `json:"series"`
	Clusters   []ClusterSize `json:"clusters"`
	TopHosts   Largest       `json:"top-hosts"`
	TopMetrics Largest       `json:"top-metrics"`

	Memory        Memory         `json:"memory"`
	Journal       Journal        `json:"journal"`
	Checkpoint    *Checkpoint    `json:"checkpoint,omitempty"` // the last; none yet: left out
	Subscriptions []Subscription `json:"subscriptions"`
}

// ClusterSize is what a cluster has.
type ClusterSize struct {
	Cluster string `json:"cluster"`
	Hosts   int    `json:"hosts"`
	Series  int    `json:"series"`
	Bytes   int64  `json:"bytes"`
}

// Largest are some of many, the largest first.
type Largest struct {
	BySeries []Size `json:"by-series"`
	ByBytes  []Size `json:"by-bytes"`
}

// Size is what a host has, or a metric of all hosts.
type Size struct {
	Cluster string `json:"cluster,omitempty"` // of a host
	Name    string `json:"name"`
	Series  int    `json:"series"`
	Bytes   int64  `json:"bytes"`
}

// Memory is what the samples take and may take, and the process.
type Memory struct {
	Bytes          int64 `json:"bytes"`            // of all that the store holds, by its own books
	Limit          int64 `json:"limit"`            // of these; 0: none
	Cap            int64 `json:"cap"`              // of the whole process; 0: none
	Blocks         int   `json:"blocks"`           // windows that are compressed
	BlockBytes     int64 `json:"block-bytes"`      // of these
	EvictedWindows int64 `json:"evicted-windows"`  // for want of memory, since the start
	Process        int64 `json:"process,omitzero"` // bytes that the Go runtime has from the system
}

// Journal is what was written since the last checkpoint.
type Journal struct {
	Segments    int    `json:"segments"`
	Bytes       int64  `json:"bytes"`
	Unavailable string `json:"unavailable,omitempty"` // why it takes no records
}

// Checkpoint is the last that was written, and what became of one since.
type Checkpoint struct {
	Time  int64   `json:"time"`
	Took  float64 `json:"took,omitzero"`   // seconds; 0 if it was written before this start
	Bytes int64   `json:"bytes,omitzero"`  // written
	Error string  `json:"error,omitempty"` // of a later one that failed
}

// Subscription is a NATS subject and what was counted of it since the start.
type Subscription struct {
	Subject  string             `json:"subject"`
	Counters map[string]float64 `json:"counters"`
}

// Snapshot is the answer of /api/snapshot.
type Snapshot struct {
	Path  string `json:"path"`  // of its directory, on the server
	Time  int64  `json:"time"`  // Unix seconds
	Files int    `json:"files"` // in it
	Bytes int64  `json:"bytes"` // that these have together
}

const (
	defaultTop = 10
	mostTop    = 1000
)

// status answers /api/status, with the ?top= largest hosts and metrics.
func (h *Handler) status(w http.ResponseWriter, r *http.Request) error {
	top := defaultTop
	if raw := r.URL.Query().Get("top"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 0 || n > mostTop {
			return badRequest("top: a number of at most %d is wanted", mostTop)
		}
		top = n
	}
	s, err := h.Operator.Status(r.Context(), top)
	if err != nil {
		return err
	}
	return h.answerJSON(w, r, s)
}

// snapshot answers /api/snapshot.
func (h *Handler) snapshot(w http.ResponseWriter, r *http.Request) error {
	s, err := h.Operator.Snapshot(r.Context())
	if err != nil {
		return unavailable(err)
	}
	return h.answerJSON(w, r, s)
}
