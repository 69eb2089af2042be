package lineprotocol

import (
	"bytes"
	"iter"
	"unicode/utf8"
)

// Measurement returns the measurement that a series key begins with, unescaped, and false if there
// is none. It does not check the tags.
func Measurement(key []byte) (name string, ok bool) {
	raw, _, _ := cutUnescaped(key, ',')
	if len(raw) == 0 || len(raw) > MaxKey || !utf8.Valid(raw) || bytes.ContainsFunc(raw, isControl) {
		return "", false
	}
	return unescape(raw, ", "), true
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// MetricName returns the metric of a measurement and a field; an empty field is the one named
// "value".
func MetricName(measurement string, field []byte) string {
	if len(field) == 0 || string(field) == valueField {
		return measurement
	}
	return measurement + "_" + string(field)
}

// Metrics returns the names of the metrics that a rejected line has samples of: its measurement, or
// one for each field with [Dialect.EachField]. It reads what it can of the line, and returns none
// if that has no measurement or no field. A name may occur twice.
func (d Dialect) Metrics(line []byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		line = bytes.TrimLeft(line, " ")
		end := keyEnd(line)
		if end < 0 {
			return
		}
		measurement, ok := Measurement(line[:end])
		if !ok {
			return
		}
		for rest := bytes.TrimLeft(line[end:], " "); ; {
			name, value, found := cutUnescaped(rest, '=')
			if !found || len(name) == 0 {
				return
			}
			if !d.EachField {
				yield(measurement)
				return
			}
			if !yield(MetricName(measurement, []byte(unescape(name, ",= ")))) {
				return
			}
			if rest, found = afterValue(value); !found {
				return
			}
		}
	}
}

// afterValue returns what follows a field's value and a comma, and false if no field follows.
func afterValue(b []byte) (rest []byte, found bool) {
	if len(b) > 0 && b[0] == '"' {
		_, b, found = cutUnescaped(b[1:], '"')
		if !found {
			return nil, false
		}
	}
	end := bytes.IndexAny(b, ", ")
	if end < 0 || b[end] == ' ' {
		return nil, false
	}
	return b[end+1:], true
}
