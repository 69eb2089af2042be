package prometheus

import (
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/annotations"
)

// lookup is a request for series, or for the names or values of their labels.
type lookup struct {
	querier  *querier
	matchers [][]*labels.Matcher // of several selectors; none: all series
	limit    int                 // of results; 0 means all
}

func (a *API) lookup(w http.ResponseWriter, r *http.Request, c Caller) (*lookup, error) {
	if err := readForm(w, r); err != nil {
		return nil, err
	}
	mint, maxt, err := rangeParameters(r)
	if err != nil {
		return nil, err
	}
	l := &lookup{querier: &querier{queryable{a, c.reading()}, mint, maxt}}
	if l.matchers, err = a.matchParameters(r); err != nil {
		return nil, err
	}
	l.limit, err = limitParameter(r, "limit")
	return l, err
}

// list answers the names or values that find returns for each selector, or for all series without
// selectors.
func (l *lookup) list(w http.ResponseWriter, find func(...*labels.Matcher) ([]string, annotations.Annotations, error)) error {
	selectors := l.matchers
	if len(selectors) == 0 {
		selectors = [][]*labels.Matcher{nil}
	}
	var all []string
	for _, matchers := range selectors {
		found, _, err := find(matchers...)
		if err != nil {
			return failed(promql.ErrStorage{Err: err})
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	var n notes
	if l.limit > 0 && len(all) > l.limit {
		all = all[:l.limit]
		n.cutOff()
	}
	return answer(w, n, func(b *body) { b.strings(all) })
}

func (a *API) labelNames(w http.ResponseWriter, r *http.Request, c Caller) error {
	l, err := a.lookup(w, r, c)
	if err != nil {
		return err
	}
	return l.list(w, func(m ...*labels.Matcher) ([]string, annotations.Annotations, error) {
		return l.querier.LabelNames(r.Context(), nil, m...)
	})
}

func (a *API) labelValues(w http.ResponseWriter, r *http.Request, c Caller) error {
	l, err := a.lookup(w, r, c)
	if err != nil {
		return err
	}
	label := model.UnescapeName(mux.Vars(r)["name"], model.ValueEncodingEscaping)
	if !model.UTF8Validation.IsValidLabelName(label) {
		return badData("invalid label name %q", clip(label))
	}
	return l.list(w, func(m ...*labels.Matcher) ([]string, annotations.Annotations, error) {
		return l.querier.LabelValues(r.Context(), label, nil, m...)
	})
}

func (a *API) series(w http.ResponseWriter, r *http.Request, c Caller) error {
	l, err := a.lookup(w, r, c)
	if err != nil {
		return err
	}
	if len(l.matchers) == 0 {
		return badData("the parameter %q is missing", "match[]")
	}
	var sets []storage.SeriesSet
	for _, matchers := range l.matchers {
		sets = append(sets, l.querier.Select(r.Context(), true, &storage.SelectHints{
			Start: l.querier.mint, End: l.querier.maxt, Func: "series",
		}, matchers...))
	}
	merged := storage.NewMergeSeriesSet(sets, 0, storage.ChainedSeriesMerge)
	var found []labels.Labels
	var n notes
	for merged.Next() {
		if l.limit > 0 && len(found) == l.limit {
			n.cutOff()
			break
		}
		found = append(found, merged.At().Labels())
	}
	if err := merged.Err(); err != nil {
		return failed(promql.ErrStorage{Err: err})
	}
	return answer(w, n, func(b *body) { appendList(b, found, b.labels) })
}
