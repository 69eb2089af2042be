package prometheus

import (
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// prometheusVersion is the version whose API this is. Grafana decides by it what to ask for.
const prometheusVersion = "3.16.0"

// buildInfo answers which API this is.
func (a *API) buildInfo(w http.ResponseWriter, _ *http.Request, _ Caller) error {
	return answer(w, notes{}, func(b *body) {
		b.raw(`{"version":"` + prometheusVersion + `","revision":`)
		b.string("ringstore " + a.o.Version)
		b.raw(`,"branch":"","buildUser":"","buildDate":"","goVersion":`)
		b.string(runtime.Version())
		b.raw("}")
	})
}

// metadata answers the type, unit and help of the configured metrics. The frequency, in seconds, is
// an addition to what Prometheus answers.
func (a *API) metadata(w http.ResponseWriter, r *http.Request, _ Caller) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	limit, err := limitParameter(r, "limit")
	if err != nil {
		return err
	}
	wanted := r.Form.Get("metric")
	return answer(w, notes{}, func(b *body) {
		b.raw("{")
		n := 0
		for _, name := range a.names {
			if wanted != "" && name.text != wanted || limit > 0 && n == limit {
				continue
			}
			m := a.o.Metrics[name.metric]
			b.comma(n)
			n++
			b.string(name.text)
			b.raw(`:[{"type":"gauge","help":`)
			b.string(m.Help)
			b.raw(`,"unit":`)
			b.string(m.Unit)
			b.raw(`,"frequency":`)
			b.buf = strconv.AppendInt(b.buf, int64(m.Frequency/time.Second), 10)
			b.raw("}]")
		}
		b.raw("}")
	})
}

// formatQuery answers an expression in its usual layout.
func (a *API) formatQuery(w http.ResponseWriter, r *http.Request, _ Caller) error {
	expr, err := a.expression(w, r)
	if err != nil {
		return err
	}
	return answer(w, notes{}, func(b *body) { b.string(expr.Pretty(0)) })
}

func (a *API) expression(w http.ResponseWriter, r *http.Request) (parser.Expr, error) {
	if err := readForm(w, r); err != nil {
		return nil, err
	}
	if err := checkSize(r.Form.Get("query")); err != nil {
		return nil, badParameter("query", err)
	}
	expr, err := a.parser.ParseExpr(r.Form.Get("query"))
	if err == nil {
		err = checkDepth(expr)
	}
	if err != nil {
		return nil, badParameter("query", err)
	}
	return expr, nil
}
