package rest

import (
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ringstore/ringstore/memstore"
)

// debug answers /api/debug: the subtree at ?selector=, or the whole tree,
//
//	{"data": {"hwthread0": {"ipc": [{"start": s, "len": n, "end": e}]}}}
//
// where the members of each level are its metrics and the levels below.
func (h *Handler) debug(w http.ResponseWriter, r *http.Request) error {
	path, err := parseSelector(r.URL.Query().Get("selector"))
	if err != nil {
		return err
	}
	return h.answering(w, r, func(a *answer) error {
		a.raw(`{"data":`)
		if err := h.subtree(a, path); err != nil {
			return err
		}
		a.raw("}")
		return nil
	})
}

// parseSelector splits s at ":". Names that contain colons are given as a JSON list.
func parseSelector(s string) ([]string, error) {
	switch {
	case s == "":
		return nil, nil
	case s[0] != '[':
		return strings.Split(s, ":"), nil
	}
	var path []string
	if err := json.Unmarshal([]byte(s), &path); err != nil {
		return nil, badRequest(`selector: expected names joined by ":", or a JSON list of names`)
	}
	return path, nil
}

// subtree appends the subtree at a path, host by host.
func (h *Handler) subtree(a *answer, path []string) error {
	switch len(path) {
	case 0:
		return a.object(slices.Values(h.Store.Clusters()), func(cluster string) error {
			return h.cluster(a, cluster, h.Store.Hosts(cluster))
		})
	case 1:
		hosts := h.Store.Hosts(path[0])
		if len(hosts) == 0 {
			return memstore.ErrNotFound
		}
		return h.cluster(a, path[0], hosts)
	default:
		level, err := h.Store.Tree(path)
		if err != nil {
			return err
		}
		return a.level(level)
	}
}

func (h *Handler) cluster(a *answer, name string, hosts []string) error {
	return a.object(slices.Values(hosts), func(host string) error {
		level, err := h.Store.Tree([]string{name, host})
		if errors.Is(err, memstore.ErrNotFound) { // freed in the meantime
			level, err = new(memstore.Level), nil
		}
		if err != nil {
			return err
		}
		return a.level(level)
	})
}

// level appends a level and the levels below it.
func (a *answer) level(l *memstore.Level) error {
	names := slices.Sorted(maps.Keys(l.Metrics))
	for child := range l.Children {
		if _, metric := l.Metrics[child]; !metric { // a JSON object holds each name once
			names = append(names, child)
		}
	}
	slices.Sort(names[len(l.Metrics):])
	return a.object(slices.Values(names), func(name string) error {
		windows, metric := l.Metrics[name]
		if !metric {
			return a.level(l.Children[name])
		}
		a.windows(windows)
		return nil
	})
}

func (a *answer) windows(windows []memstore.Window) {
	a.raw("[")
	first := true
	for _, w := range windows {
		a.comma(&first)
		a.raw(`{"start":`)
		a.int(w.Start)
		a.raw(`,"len":`)
		a.int(int64(w.Len))
		a.raw(`,"end":`)
		a.int(w.End)
		a.raw("}")
	}
	a.raw("]")
}

// object appends a JSON object; value appends the value of a name.
func (a *answer) object(names iter.Seq[string], value func(name string) error) error {
	a.raw("{")
	first := true
	for name := range names {
		a.comma(&first)
		a.string(name)
		a.raw(":")
		if err := value(name); err != nil {
			return err
		}
		if err := a.more(); err != nil {
			return err
		}
	}
	a.raw("}")
	return nil
}
