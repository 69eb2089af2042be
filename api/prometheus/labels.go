package prometheus

import (
	"net/http"
	"slices"

	"github.com/gorilla/mux"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
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
	l := &lookup{querier: &querier{queryable{a, c.Reader}, mint, maxt}}
	if l.matchers, err = a.matchParameters(r); err != nil {
		return nil, err
	}
	l.limit, err = limitParameter(r, "limit")
	return l, err
}

// each calls find for each selector, or once without matchers, and joins what it returns.
func (l *lookup) each(find func(...*labels.Matcher) ([]string, error)) (all []string, err error) {
	selectors := l.matchers
	if len(selectors) == 0 {
		selectors = [][]*labels.Matcher{nil}
	}
	for _, matchers := range selectors {
		found, err := find(matchers...)
		if err != nil {
			return nil, failed(promql.ErrStorage{Err: err})
		}
		all = append(all, found...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// answer sends a list of names or values.
func (l *lookup) answer(w http.ResponseWriter, list []string) error {
	var n notes
	if l.limit > 0 && len(list) > l.limit {
		list, n.warnings = list[:l.limit], []string{"the result was cut off at the limit"}
	}
	return answer(w, n, func(b *body) { b.strings(list) })
}

func (a *API) labelNames(w http.ResponseWriter, r *http.Request, c Caller) error {
	l, err := a.lookup(w, r, c)
	if err != nil {
		return err
	}
	list, err := l.each(func(m ...*labels.Matcher) ([]string, error) {
		names, _, err := l.querier.LabelNames(r.Context(), nil, m...)
		return names, err
	})
	if err != nil {
		return err
	}
	return l.answer(w, list)
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
	list, err := l.each(func(m ...*labels.Matcher) ([]string, error) {
		values, _, err := l.querier.LabelValues(r.Context(), label, nil, m...)
		return values, err
	})
	if err != nil {
		return err
	}
	return l.answer(w, list)
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
			n.warnings = []string{"the result was cut off at the limit"}
			break
		}
		found = append(found, merged.At().Labels())
	}
	if err := merged.Err(); err != nil {
		return failed(promql.ErrStorage{Err: err})
	}
	return answer(w, n, func(b *body) {
		b.raw("[")
		for i, s := range found {
			b.comma(i)
			b.labels(s)
			if !b.more() {
				return
			}
		}
		b.raw("]")
	})
}
