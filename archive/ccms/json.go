package ccms

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A JSON checkpoint is a level:
//
//	{"from": N, "to": N, "metrics": {name: {"frequency": N, "start": N, "data": [number or null, ...]}},
//	 "children": {name: level}}
//
// with its members in any order.
func (r *reader) readJSON(s span) error {
	d := jsonReader{reader: r, in: jsontext.NewDecoder(r.in, jsontext.AllowDuplicateNames(true)), span: s}
	if err := d.level(nil); err != nil {
		return d.located(err)
	}
	if _, err := d.in.ReadToken(); !errors.Is(err, io.EOF) {
		return &atOffset{d.in.InputOffset(), errors.New("data after the end of the checkpoint")}
	}
	return nil
}

type jsonReader struct {
	*reader
	in   *jsontext.Decoder
	span span
}

func (d *jsonReader) located(err error) error {
	offset := d.in.InputOffset()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if syntax, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset, err = syntax.ByteOffset, syntax.Err
	}
	return &atOffset{offset, err}
}

// object calls member for each member of an object; member reads the value. Null counts as an
// object without members.
func (d *jsonReader) object(what string, member func(name string) error) error {
	switch kind := d.in.PeekKind(); kind {
	case 'n':
		return d.in.SkipValue()
	case '{':
	case 0:
		_, err := d.in.ReadToken()
		return err
	default:
		return fmt.Errorf("%s: expected an object", what)
	}
	if _, err := d.in.ReadToken(); err != nil {
		return err
	}
	for d.in.PeekKind() == '"' {
		name, err := d.in.ReadToken()
		if err != nil {
			return err
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	_, err := d.in.ReadToken() // returns the error if this is not the end
	return err
}

func (d *jsonReader) level(levels []string) error {
	return d.object("a level", func(name string) error {
		switch name {
		case "metrics":
			return d.object(`"metrics"`, func(name string) error { return d.metric(levels, name) })
		case "children":
			return d.object(`"children"`, func(name string) error {
				if len(levels) == maxLevels {
					return errors.New("expected no levels below a subtype")
				}
				return d.level(append(levels, name))
			})
		}
		return d.in.SkipValue()
	})
}

// metric reads a metric. If the file ends within it, the whole metric is dropped, as its last
// number may be incomplete.
func (d *jsonReader) metric(levels []string, name string) error {
	offset := d.in.InputOffset()
	if k := d.in.PeekKind(); k != '{' && k != 0 {
		d.fileDamage(offset, "metric %.100q: expected an object", name)
		return d.in.SkipValue()
	}
	var frequency, start int64
	var wrong error
	begin := len(d.values)
	err := d.object("a metric", func(member string) (err error) {
		var bad error
		switch member {
		case "frequency":
			frequency, bad, err = d.integer()
		case "start":
			start, bad, err = d.integer()
		case "data":
			d.values = d.values[:begin]
			bad, err = d.data()
		default:
			err = d.in.SkipValue()
		}
		if bad != nil {
			wrong = fmt.Errorf("metric %.100q: %q: %w", name, member, bad)
		}
		return err
	})
	if err != nil {
		return err
	}
	var c column
	if wrong == nil {
		c, wrong = d.column(levels, name, d.span, frequency, start, len(d.values)-begin)
	}
	if wrong != nil {
		d.values = d.values[:begin]
		d.fileDamage(offset, "%v", wrong)
		return nil
	}
	c.begin, c.end = begin, len(d.values)
	d.columns = append(d.columns, c)
	return nil
}

// integer reads an integer. bad says that the value is something else, err that the rest of the
// file is unreadable.
func (d *jsonReader) integer() (n int64, bad, err error) {
	if d.in.PeekKind() != '0' {
		return 0, errors.New("expected a number"), d.in.SkipValue()
	}
	v, err := d.in.ReadValue()
	if err != nil {
		return 0, nil, err
	}
	n, bad = strconv.ParseInt(string(v), 10, 64)
	return n, bad, nil
}

// data appends the values of a metric to those of the file, NaN for null.
func (d *jsonReader) data() (bad, err error) {
	switch d.in.PeekKind() {
	case 'n':
		return nil, d.in.SkipValue()
	case '[':
	default:
		return errors.New("expected an array"), d.in.SkipValue()
	}
	if _, err := d.in.ReadToken(); err != nil {
		return nil, err
	}
	for {
		v := math.NaN()
		switch d.in.PeekKind() {
		case 'n':
			err = d.in.SkipValue()
		case '0':
			var raw jsontext.Value
			if raw, err = d.in.ReadValue(); err == nil {
				v, bad = parseNumber(raw, bad)
			}
		case ']', 0:
			_, err = d.in.ReadToken() // returns the error if this is not the end
			return bad, err
		default:
			bad, err = errors.New("expected numbers and null"), d.in.SkipValue()
		}
		if err != nil {
			return nil, err
		}
		d.values = append(d.values, v)
	}
}

func parseNumber(raw jsontext.Value, bad error) (float64, error) {
	v, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		bad = err
	}
	return v, bad
}
