package rest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/ringstore/ringstore/memstore"
)

// healthRequest is the body of /api/healthcheck. Unknown members are an error.
type healthRequest struct {
	Cluster string   `json:"cluster"`
	Nodes   []string `json:"nodes"`
	Metrics []string `json:"metric-names"`
}

// healthcheck answers /api/healthcheck: for each node its state, and a JSON text with the degraded
// and missing metrics,
//
//	{"h1": {"State": "partial", "HealthMetrics": "{\"degraded\":[],\"missing\":[\"ipc\"]}"}}
func (h *Handler) healthcheck(w http.ResponseWriter, r *http.Request) error {
	var req healthRequest
	err := h.decodeBody(w, r, &req, true, nil)
	if errors.Is(err, io.EOF) {
		return badRequest("the body is empty; expected nodes and metric-names")
	}
	if err != nil {
		return err
	}
	for i, metric := range req.Metrics {
		if err := checkMetric(fmt.Sprintf("metric-names[%d]", i), metric); err != nil {
			return err
		}
	}
	slices.Sort(req.Nodes)
	nodes := slices.Compact(req.Nodes)
	if n := cmp.Or(h.Limits.ValuesPerQuery, defaultValuesPerQuery); len(nodes) > n/max(1, len(req.Metrics)) {
		return badRequest("too many checks: at most %d (nodes times metric-names) per request", n)
	}
	reader := h.reader(w)
	return h.answering(w, r, func(a *answer) error {
		return a.object(slices.Values(nodes), func(node string) error {
			return a.health(reader.Health(req.Cluster, node, req.Metrics), len(req.Metrics))
		})
	})
}

func (a *answer) health(health memstore.Health, metrics int) error {
	a.raw(`{"State":`)
	a.string(state(health, metrics))
	a.raw(`,"HealthMetrics":`)
	var text []byte
	if health.Known {
		var err error
		text, err = json.Marshal(struct {
			Degraded []string `json:"degraded"`
			Missing  []string `json:"missing"`
		}{append([]string{}, health.Degraded...), append([]string{}, health.Missing...)})
		if err != nil {
			return err
		}
	}
	a.string(string(text))
	a.raw("}")
	return nil
}

// state returns the state of a host of which so many metrics were checked.
func state(health memstore.Health, metrics int) string {
	bad := len(health.Degraded) + len(health.Missing)
	switch {
	case health.Known && bad == 0:
		return "full"
	case !health.Known || bad == metrics:
		return "failed"
	default:
		return "partial"
	}
}
