package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/memstore/unixtime"
)

const (
	// maxSelectors bounds the cost of one /api/free: each selector walks the store.
	maxSelectors = 10_000
	// everything stands for every name, as in [memstore.Store.Free].
	everything = "*"
)

// selector is a path into the store. Each element is a name, a list of names, or "*".
type selector [][]string

func (s *selector) UnmarshalJSON(data []byte) error {
	var elements []element
	if err := json.Unmarshal(data, &elements); err != nil {
		return badRequest(`a selector is a list of names and lists of names, as ["alpha", ["n1", "n2"]]`)
	}
	if len(elements) == 0 || slices.ContainsFunc(elements, func(e element) bool { return len(e) == 0 }) {
		return badRequest(`an empty selector would be everything: say so with ["*"]`)
	}
	for _, e := range elements {
		*s = append(*s, e)
	}
	return nil
}

// element is a name or a list of names.
type element []string

func (e *element) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '[' {
		return json.Unmarshal(data, (*[]string)(e))
	}
	var name *string
	if err := json.Unmarshal(data, &name); err != nil || name == nil {
		return err
	}
	*e = element{*name}
	return nil
}

// within restricts selectors to the clusters of a set: "*" then means all of these. It returns
// [auth.Denied] if a selector names another cluster.
func within(selectors []selector, set auth.ClusterSet) ([]selector, error) {
	if set.All() {
		return selectors, nil
	}
	var narrowed []selector
	for _, s := range selectors {
		clusters := element(set.Names())
		if !slices.Contains(s[0], everything) {
			clusters = s[0]
		}
		for _, cluster := range clusters {
			if !set.Has(cluster) || cluster == everything {
				return nil, &auth.Denied{Action: auth.Free, Code: auth.OtherCluster}
			}
		}
		narrowed = append(narrowed, slices.Concat(selector{clusters}, s[1:]))
	}
	return narrowed, nil
}

// free answers /api/free: it deletes the slots at or before ?to= in the subtrees at a list of
// selectors. The unit of this Unix time follows from its size, as that of a sample does.
func (h *Handler) free(w http.ResponseWriter, r *http.Request) error {
	raw := r.URL.Query().Get("to")
	if raw == "" {
		return badRequest("'to' is a required query parameter")
	}
	to, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		return badRequest("'to' is not a Unix time, a whole number of seconds, milliseconds, microseconds or nanoseconds")
	}
	to = unixtime.FloorDiv(lineprotocol.Milliseconds(to), 1000)
	var selectors []selector
	if err := h.decodeBody(w, r, &selectors, false, nil); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(selectors) > maxSelectors {
		return badRequest("there are more than %d selectors", maxSelectors)
	}
	// encoding/json does not call UnmarshalJSON for null, so its checks are repeated.
	if slices.ContainsFunc(selectors, func(s selector) bool { return len(s) == 0 }) {
		return badRequest(`an empty selector would be everything: say so with ["*"]`)
	}
	x := exchangeOf(w)
	if selectors, err = within(selectors, h.clusters(x, auth.Free)); err != nil {
		h.auditDenial(x, r, auth.Free, auth.OtherCluster)
		return err
	}
	var freed int
	for _, s := range selectors {
		n, err := h.Freer.Free(r.Context(), s, to)
		if err != nil {
			return unavailable(err)
		}
		freed += n
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, err = fmt.Fprintf(w, "buffers freed: %d\n", freed)
	return err
}
