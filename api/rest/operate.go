package rest

import (
	"context"
	"net/http"
	"strconv"
)

// Operator answers the requests of the service's administrators. It knows the whole program, which
// the handler does not.
type Operator interface {
	// Status returns the state of the service, with the top largest hosts and metrics.
	Status(ctx context.Context, top int) (Status, error)
	// Snapshot makes a consistent copy of all stored data. Its errors are classified like those of
	// the Ingester.
	Snapshot(ctx context.Context) (Snapshot, error)
	// ConfirmClock says that the server's clock is right.
	ConfirmClock() ClockConfirmed
}

// Status is the answer of /api/status. Times are Unix seconds.
type Status struct {
	Version string   `json:"version"`
	Started int64    `json:"started"`
	Uptime  int64    `json:"uptime"` // seconds
	Ready   bool     `json:"ready"`
	Reasons []string `json:"reasons"` // why it is not ready
	Notes   []string `json:"notes"`   // warnings that do not affect readiness, for example about jobs

	Hosts      int           `json:"hosts"`
	Series     int           `json:"series"`
	Clusters   []ClusterSize `json:"clusters"`
	TopHosts   Largest       `json:"top-hosts"`
	TopMetrics Largest       `json:"top-metrics"`

	Memory        Memory         `json:"memory"`
	Journal       Journal        `json:"journal"`
	Checkpoint    *Checkpoint    `json:"checkpoint,omitempty"` // the last one; omitted if there is none
	Subscriptions []Subscription `json:"subscriptions"`
}

// ClusterSize is the size of one cluster.
type ClusterSize struct {
	Cluster string `json:"cluster"`
	Hosts   int    `json:"hosts"`
	Series  int    `json:"series"`
	Bytes   int64  `json:"bytes"`
}

// Largest lists the largest hosts or metrics, in descending order.
type Largest struct {
	BySeries []Size `json:"by-series"`
	ByBytes  []Size `json:"by-bytes"`
}

// Size is the size of a host, or of a metric over all hosts.
type Size struct {
	Cluster string `json:"cluster,omitempty"` // of a host
	Name    string `json:"name"`
	Series  int    `json:"series"`
	Bytes   int64  `json:"bytes"`
}

// Memory is the memory use of the store and of the process.
type Memory struct {
	Bytes          int64 `json:"bytes"`            // of the store, as it accounts for them
	Limit          int64 `json:"limit"`            // of Bytes; 0: no limit
	Cap            int64 `json:"cap"`              // of the whole process; 0: none
	Blocks         int   `json:"blocks"`           // compressed windows
	BlockBytes     int64 `json:"block-bytes"`      // of the blocks
	Aggregates     int   `json:"aggregates"`       // sums of several series that the blocks keep
	AggregateBytes int64 `json:"aggregate-bytes"`  // a part of BlockBytes
	EvictedWindows int64 `json:"evicted-windows"`  // since the start, to stay below the limit
	Process        int64 `json:"process,omitzero"` // bytes that the Go runtime obtained from the system
}

// Journal is the part of the journal that no checkpoint covers yet.
type Journal struct {
	Segments    int    `json:"segments"`
	Bytes       int64  `json:"bytes"`
	Unavailable string `json:"unavailable,omitempty"` // why it accepts no records
}

// Checkpoint describes the last checkpoint written, and the error of a later one.
type Checkpoint struct {
	Time  int64   `json:"time"`
	Took  float64 `json:"took,omitzero"`   // seconds; 0 if it was written before this start
	Bytes int64   `json:"bytes,omitzero"`  // written
	Error string  `json:"error,omitempty"` // of a later one that failed
}

// Subscription is a NATS subject with its counters since the start.
type Subscription struct {
	Subject  string             `json:"subject"`
	Counters map[string]float64 `json:"counters"`
}

// Snapshot is the answer of /api/snapshot.
type Snapshot struct {
	Path  string `json:"path"`  // of its directory on the server
	Time  int64  `json:"time"`  // Unix seconds
	Files int    `json:"files"` // in the directory
	Bytes int64  `json:"bytes"` // of all files
}

// ClockConfirmed is the answer of /api/confirm-clock.
type ClockConfirmed struct {
	Time  int64   `json:"time"`  // of the server's clock, Unix seconds
	Ahead float64 `json:"ahead"` // seconds that had not been confirmed
}

const (
	defaultTop = 10
	maxTop     = 1000
)

// status answers /api/status, with the ?top= largest hosts and metrics.
func (h *Handler) status(w http.ResponseWriter, r *http.Request) error {
	top := defaultTop
	if raw := r.URL.Query().Get("top"); raw != "" {
		n, err := strconv.Atoi(raw)
		if err != nil || n < 0 || n > maxTop {
			return badRequest("top: expected a number from 0 to %d", maxTop)
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

// confirmClock answers /api/confirm-clock.
func (h *Handler) confirmClock(w http.ResponseWriter, r *http.Request) error {
	return h.answerJSON(w, r, h.Operator.ConfirmClock())
}
