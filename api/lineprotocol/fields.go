package lineprotocol

import (
	"bytes"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"
)

// fields holds the numeric fields of one line. They are all read before the first is returned, as
// one bad field rejects the whole line.
type fields struct {
	all      []Line
	returned int
}

// emptied returns fields without a line that reuse the memory of f.
func (f fields) emptied() fields {
	clear(f.all)
	return fields{all: f.all[:0]}
}

// nextField is Next for a dialect with EachField.
func (s *Scanner) nextField(l *Line) (ok bool, err error) {
	for s.fields.returned == len(s.fields.all) {
		if len(s.rest) == 0 {
			return false, nil
		}
		s.fields = s.fields.emptied()
		line := s.cutLine()
		if len(line) > MaxLine {
			return true, s.reject(l, line, errLineTooLong)
		}
		if ignorable(line) || s.scanPlainFields(line) {
			continue
		}
		s.fields = s.fields.emptied()
		if err := s.scanOtherFields(line); err != nil {
			s.fields = s.fields.emptied()
			return true, s.reject(l, line, err)
		}
	}
	*l = s.fields.all[s.fields.returned]
	s.fields.returned++
	return true, nil
}

// scanPlainFields reads a line whose fields are all numbers with plain names. If it returns false,
// the library may still accept the line.
func (s *Scanner) scanPlainFields(line []byte) bool {
	end := keyEnd(line)
	if end <= 0 || end > MaxKey {
		return false
	}
	l := Line{Number: s.number, Key: line[:end]}
	for rest := line[end+1:]; ; {
		name := plainName(rest)
		if name == nil {
			return false
		}
		value, n, ok := parseNumber(rest[len(name)+1:])
		if !ok {
			return false
		}
		s.add(l, name, value)
		rest = rest[len(name)+1+n:]
		switch {
		case len(rest) == 0:
			return true
		case rest[0] == ',':
			rest = rest[1:]
		case rest[0] == ' ':
			ms, ok := s.timestamp(rest[1:])
			if ok {
				s.fields.setTime(ms)
			}
			return ok
		default:
			return false
		}
	}
}

// plainName returns the name of the field that b begins with. It returns nil if there is none, or
// if the name needs the library: it has an escape, a quote, or bytes outside printable ASCII.
func plainName(b []byte) []byte {
	for i, c := range b {
		switch {
		case c == '=' && i > 0:
			return b[:i]
		case c <= ' ' || c >= 0x7f || c == '=' || c == ',' || c == '\\' || c == '"':
			return nil
		}
	}
	return nil
}

// scanOtherFields decodes a line of any shape with the library. The error's text is a reason as in
// [LineError].
func (s *Scanner) scanOtherFields(line []byte) error {
	key, err := keyOf(line)
	if err != nil {
		return err
	}
	return explain(key, s.decodeEach(line, key))
}

func (s *Scanner) decodeEach(line, key []byte) error {
	d := influx.NewDecoderWithBytes(line)
	d.Next()
	l := Line{Number: s.number, Key: key}
	for {
		name, v, err := nextField(d, line)
		if err != nil {
			return err
		}
		if name == nil {
			break
		}
		if value, ok := numberOrBool(v); ok {
			s.add(l, bytes.Clone(name), value)
		}
	}
	if err := decodeTime(d, line, &l, s.dialect); err != nil {
		return err
	}
	if l.HasTime {
		s.fields.setTime(l.Time)
	}
	return nil
}

// numberOrBool converts a number, or a boolean to 0 or 1.
func numberOrBool(v influx.Value) (float64, bool) {
	if v.Kind() == influx.Bool {
		if v.BoolV() {
			return 1, true
		}
		return 0, true
	}
	n, err := number(v)
	return n, err == nil
}

func (s *Scanner) add(l Line, name []byte, value float64) {
	l.Field, l.Value = name, value
	if string(name) == valueField {
		l.Field = nil
	}
	s.fields.all = append(s.fields.all, l)
}

func (f fields) setTime(ms int64) {
	for i := range f.all {
		f.all[i].Time, f.all[i].HasTime = ms, true
	}
}
