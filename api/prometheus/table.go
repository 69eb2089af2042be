package prometheus

import (
	"net/http"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/ringstore/ringstore/api/internal/table"
)

// answerTable sends the result of a query as a table. Labels that no stored series has are left out.
func answerTable(w http.ResponseWriter, f table.Format, v parser.Value) error {
	if v.Type() == parser.ValueTypeString {
		return badData("invalid parameter %q: a text is not a table", "format")
	}
	w.Header().Set("Content-Type", f.ContentType())
	t, err := table.NewWriter(w, f)
	if err != nil {
		return err
	}
	if err := addValue(t, v); err != nil {
		return err // the client is gone
	}
	return t.Close()
}

func addValue(t *table.Writer, v parser.Value) error {
	switch v := v.(type) {
	case promql.Matrix:
		for i := range v {
			s := tableSeries(v[i].Metric)
			for _, p := range v[i].Floats {
				if err := t.Add(&s, p.T, p.F); err != nil {
					return err
				}
			}
		}
	case promql.Vector:
		for i := range v {
			s := tableSeries(v[i].Metric)
			if err := t.Add(&s, v[i].T, v[i].F); err != nil {
				return err
			}
		}
	case promql.Scalar:
		return t.Add(&table.Series{}, v.T, v.V)
	}
	return nil
}

func tableSeries(l labels.Labels) table.Series {
	return table.Series{
		Cluster: l.Get(clusterLabel), Hostname: l.Get(hostLabel), Type: l.Get(typeLabel), TypeID: l.Get(typeIDLabel),
		SType: l.Get(stypeLabel), STypeID: l.Get(stypeIDLabel), Metric: l.Get(nameLabel),
	}
}
