package prometheus

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// parseQuery answers the tree of an expression, in the form that Prometheus' own pages read.
func (a *API) parseQuery(w http.ResponseWriter, r *http.Request, _ Caller) error {
	expr, err := a.expression(w, r)
	if err != nil {
		return err
	}
	tree, err := json.Marshal(treeOf(expr))
	if err != nil {
		return err
	}
	return answer(w, notes{}, func(b *body) { b.buf = append(b.buf, tree...) })
}

// node is one node of a tree as JSON.
type node map[string]any

// treeOf returns the tree of an expression; nil for none.
func treeOf(e parser.Expr) node {
	switch e := e.(type) {
	case *parser.AggregateExpr:
		return node{
			"type": "aggregation", "op": e.Op.String(), "expr": treeOf(e.Expr), "param": treeOf(e.Param),
			"grouping": listed(e.Grouping), "without": e.Without,
		}
	case *parser.BinaryExpr:
		return node{
			"type": "binaryExpr", "op": e.Op.String(), "lhs": treeOf(e.LHS), "rhs": treeOf(e.RHS),
			"matching": matchingOf(e.VectorMatching), "bool": e.ReturnBool,
		}
	case *parser.Call:
		args := make([]node, 0, len(e.Args))
		for _, arg := range e.Args {
			args = append(args, treeOf(arg))
		}
		f := node{"name": e.Func.Name, "argTypes": e.Func.ArgTypes, "variadic": e.Func.Variadic, "returnType": e.Func.ReturnType}
		return node{"type": "call", "func": f, "args": args}
	case *parser.MatrixSelector:
		n := selectorOf(e.VectorSelector.(*parser.VectorSelector))
		n["type"], n["range"] = "matrixSelector", e.Range.Milliseconds()
		return n
	case *parser.SubqueryExpr:
		return node{
			"type": "subquery", "expr": treeOf(e.Expr), "range": e.Range.Milliseconds(), "step": e.Step.Milliseconds(),
			"offset": e.OriginalOffset.Milliseconds(), "timestamp": e.Timestamp, "startOrEnd": endOf(e.StartOrEnd),
		}
	case *parser.NumberLiteral:
		return node{"type": "numberLiteral", "val": strconv.FormatFloat(e.Val, 'f', -1, 64)}
	case *parser.ParenExpr:
		return node{"type": "parenExpr", "expr": treeOf(e.Expr)}
	case *parser.StringLiteral:
		return node{"type": "stringLiteral", "val": e.Val}
	case *parser.UnaryExpr:
		return node{"type": "unaryExpr", "op": e.Op.String(), "expr": treeOf(e.Expr)}
	case *parser.VectorSelector:
		return selectorOf(e)
	case *parser.StepInvariantExpr:
		return treeOf(e.Expr)
	}
	return nil
}

func selectorOf(s *parser.VectorSelector) node {
	return node{
		"type": "vectorSelector", "name": s.Name, "matchers": matchersOf(s.LabelMatchers),
		"offset": s.OriginalOffset.Milliseconds(), "timestamp": s.Timestamp, "startOrEnd": endOf(s.StartOrEnd),
		"anchored": s.Anchored, "smoothed": s.Smoothed,
	}
}

func matchersOf(matchers []*labels.Matcher) []node {
	all := make([]node, 0, len(matchers))
	for _, m := range matchers {
		all = append(all, node{"name": m.Name, "value": m.Value, "type": m.Type.String()})
	}
	return all
}

func matchingOf(m *parser.VectorMatching) node {
	if m == nil {
		return nil
	}
	return node{
		"card": m.Card.String(), "labels": listed(m.MatchingLabels), "on": m.On, "include": listed(m.Include),
		"fillValues": node{"lhs": m.FillValues.LHS, "rhs": m.FillValues.RHS},
	}
}

// endOf returns the function that an @ modifier names; nil for none.
func endOf(t parser.ItemType) any {
	switch t {
	case parser.START:
		return "start"
	case parser.END:
		return "end"
	}
	return nil
}

// listed returns a list that is never null in JSON.
func listed(names []string) []string { return append([]string{}, names...) }
