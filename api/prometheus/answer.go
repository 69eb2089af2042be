package prometheus

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/annotations"
)

// notes are what an answer tells beside its data.
type notes struct{ warnings, infos []string }

// cutOff adds that the result was cut off at the limit.
func (n *notes) cutOff() { n.warnings = append(n.warnings, "the result was cut off at the limit") }

// noteOf returns the texts of annotations, as many as Prometheus shows.
func noteOf(a annotations.Annotations, query string) (n notes) {
	const most = 10
	n.warnings, n.infos = a.AsStrings(query, most, most)
	return n
}

// bodyBytes is how much of an answer is buffered before it is sent.
const bodyBytes = 64 << 10

// body is an answer that is sent while it is built.
type body struct {
	w   io.Writer
	buf []byte
	err error // of sending
}

// answer sends a successful answer; data builds its member data.
func answer(w http.ResponseWriter, n notes, data func(*body)) error {
	w.Header().Set("Content-Type", "application/json")
	b := &body{w: w}
	b.raw(`{"status":"success","data":`)
	data(b)
	b.list("warnings", n.warnings)
	b.list("infos", n.infos)
	b.raw("}")
	b.flush()
	return b.err
}

// empty returns an endpoint whose data is always the same.
func empty(data string) func(http.ResponseWriter, *http.Request, Caller) error {
	return func(w http.ResponseWriter, _ *http.Request, _ Caller) error {
		return answer(w, notes{}, func(b *body) { b.raw(data) })
	}
}

// list appends a member that is a list of texts, if there are any.
func (b *body) list(member string, texts []string) {
	if len(texts) == 0 {
		return
	}
	b.raw(`,"` + member + `":`)
	b.strings(texts)
}

func (b *body) flush() {
	if b.err == nil && len(b.buf) > 0 {
		_, b.err = b.w.Write(b.buf)
	}
	b.buf = b.buf[:0]
}

// more sends the buffer if it is full. It reports whether the client still reads.
func (b *body) more() bool {
	if len(b.buf) >= bodyBytes {
		b.flush()
	}
	return b.err == nil
}

func (b *body) raw(s string) { b.buf = append(b.buf, s...) }

func (b *body) string(s string) {
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // no string fails
	}
	b.buf = append(b.buf, quoted...)
}

func (b *body) strings(list []string) { appendList(b, list, b.string) }

// appendList appends a list, each element by one call.
func appendList[T any](b *body, list []T, element func(T)) {
	b.raw("[")
	for i, e := range list {
		b.comma(i)
		element(e)
		if !b.more() {
			return
		}
	}
	b.raw("]")
}

func (b *body) comma(i int) {
	if i > 0 {
		b.buf = append(b.buf, ',')
	}
}

func (b *body) labels(l labels.Labels) {
	b.raw("{")
	i := 0
	l.Range(func(l labels.Label) {
		b.comma(i)
		i++
		b.string(l.Name)
		b.raw(":")
		b.string(l.Value)
	})
	b.raw("}")
}

// value appends the result of a query.
func (b *body) value(v parser.Value) {
	switch v := v.(type) {
	case promql.Matrix:
		appendList(b, v, b.series)
	case promql.Vector:
		appendList(b, v, b.sample)
	case promql.Scalar:
		b.point(v.T, v.V)
	case promql.String:
		b.raw("[")
		b.seconds(v.T)
		b.raw(",")
		b.string(v.V)
		b.raw("]")
	}
}

func (b *body) series(s promql.Series) {
	b.raw(`{"metric":`)
	b.labels(s.Metric)
	b.raw(`,"values":`)
	appendList(b, s.Floats, func(p promql.FPoint) { b.point(p.T, p.F) })
	b.raw("}")
}

func (b *body) sample(s promql.Sample) {
	b.raw(`{"metric":`)
	b.labels(s.Metric)
	b.raw(`,"value":`)
	b.point(s.T, s.F)
	b.raw("}")
}

// point appends a time and a value: [seconds, "value"].
func (b *body) point(t int64, v float64) {
	b.raw("[")
	b.seconds(t)
	b.raw(`,"`)
	switch {
	case math.IsInf(v, 1):
		b.raw("+Inf")
	case math.IsInf(v, -1):
		b.raw("-Inf")
	default:
		b.buf = strconv.AppendFloat(b.buf, v, 'f', -1, 64)
	}
	b.raw(`"]`)
}

// seconds appends a time in milliseconds as seconds.
func (b *body) seconds(millis int64) {
	if millis < 0 {
		b.raw("-")
		millis = -millis
	}
	b.buf = strconv.AppendInt(b.buf, millis/1000, 10)
	if part := millis % 1000; part != 0 {
		digits := strconv.AppendInt(nil, 1000+part, 10) // with leading zeros after the 1
		digits[0] = '.'
		for digits[len(digits)-1] == '0' {
			digits = digits[:len(digits)-1]
		}
		b.buf = append(b.buf, digits...)
	}
}
