package prometheus

import (
	"cmp"
	"fmt"
	"regexp/syntax"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

// What a client sends may take much more memory than its bytes: a tree of calls in calls, or a regular
// expression that repeats another one. These limits are far above what people and dashboards send.
const (
	maxTokens       = 10_000    // names, operators, brackets and so on of an expression
	maxInstructions = 500_000   // and bytes, of all regular expressions of a request; each takes about 100 bytes
	maxDepth        = 200       // of an expression that is printed, which takes the third power of it
	maxSelectors    = 100       // of a request for labels, series or samples
	maxSteps        = 1_000_000 // of all subqueries of a query: the engine keeps a number for each
)

// expressionSize is the size of what a request has sent so far.
type expressionSize struct{ tokens, instructions int }

// checkSize returns an error if expressions are too large to be parsed. What is wrong with them
// otherwise, the parser finds.
func checkSize(expressions ...string) error {
	var size expressionSize
	for _, e := range expressions {
		lexer := parser.Lex(e)
		for {
			var item parser.Item
			lexer.NextItem(&item)
			if item.Typ == parser.EOF || item.Typ == parser.ERROR {
				break
			}
			if size.tokens++; size.tokens > maxTokens {
				return fmt.Errorf("the expression has more than %d names, operators and brackets", maxTokens)
			}
			if item.Typ != parser.STRING {
				continue
			}
			text, err := strutil.Unquote(item.Val)
			if err != nil {
				break
			}
			if err := size.add(text); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkSteps returns an error if the subqueries of a query have too many steps. The engine evaluates a
// subquery once, over the range of the query and those of all subqueries around it.
func (a *API) checkSteps(query promql.Query) error {
	statement, ok := query.Statement().(*parser.EvalStmt)
	if !ok {
		return nil
	}
	steps := 0.0 // the longest durations would overflow if they were added
	parser.Inspect(statement.Expr, func(node parser.Node, around []parser.Node) error {
		inner, ok := node.(*parser.SubqueryExpr)
		if !ok {
			return nil
		}
		covered := statement.End.Sub(statement.Start).Seconds() + inner.Range.Seconds()
		for _, n := range around {
			if outer, ok := n.(*parser.SubqueryExpr); ok {
				covered += outer.Range.Seconds()
			}
		}
		steps += covered / cmp.Or(inner.Step, slowest(a.o.Metrics)).Seconds()
		return nil
	})
	if steps > maxSteps {
		return fmt.Errorf("the subqueries have more than %d steps: use longer steps or shorter ranges", maxSteps)
	}
	return nil
}

// checkDepth returns an error if an expression is nested too deeply to be printed.
func checkDepth(expr parser.Expr) error {
	depth := 0
	parser.Inspect(expr, func(_ parser.Node, around []parser.Node) error {
		depth = max(depth, len(around))
		return nil
	})
	if depth > maxDepth {
		return fmt.Errorf("the expression is nested more than %d levels deep", maxDepth)
	}
	return nil
}

// add counts a text that may be a regular expression.
func (s *expressionSize) add(text string) error {
	tree, err := syntax.Parse(text, syntax.Perl|syntax.DotNL)
	s.instructions += len(text)
	if err == nil {
		s.instructions += instructions(tree)
	}
	if s.instructions > maxInstructions {
		return fmt.Errorf("the regular expressions are too large: expected at most %d instructions and bytes in all", maxInstructions)
	}
	return nil
}

// instructions returns about how many instructions a regular expression compiles to, at most a little
// more than maxInstructions.
func instructions(tree *syntax.Regexp) int {
	n := 1 + len(tree.Rune)
	for _, sub := range tree.Sub {
		if n += instructions(sub); n > maxInstructions {
			return maxInstructions + 1
		}
	}
	if tree.Op == syntax.OpRepeat {
		n = min(n*(1+max(tree.Min, tree.Max)), maxInstructions+1)
	}
	return n
}
