package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"
)

// valueField is the field that holds the sample. Other fields are checked and ignored.
const valueField = "value"

// scanOther decodes a line of any shape with the library. The error's text is a reason as in
// [LineError].
func scanOther(line []byte, l *Line, dialect Dialect) (err error) {
	if l.Key, err = keyOf(line); err != nil {
		return err
	}
	return explain(l.Key, decode(line, l, dialect))
}

// keyOf returns the series key of a line that may begin with spaces.
func keyOf(line []byte) ([]byte, error) {
	entry := bytes.TrimLeft(line, " ")
	end := keyEnd(entry)
	switch {
	case end < 0:
		return nil, errors.New("no field after the metric and its tags")
	case end > MaxKey:
		return nil, errKeyTooLong
	}
	return entry[:end], nil
}

// explain replaces an error by that of [ParseKey] if the key is at fault, so that plain and other
// lines get the same reason.
func explain(key []byte, err error) error {
	if err == nil {
		return nil
	}
	if _, keyErr := ParseKey(key); keyErr != nil {
		return keyErr
	}
	return err
}

func decode(line []byte, l *Line, dialect Dialect) error {
	d := influx.NewDecoderWithBytes(line)
	d.Next()
	if err := decodeFields(d, line, l); err != nil {
		return err
	}
	return decodeTime(d, line, l, dialect)
}

func decodeTime(d *influx.Decoder, line []byte, l *Line, dialect Dialect) error {
	stamp, err := d.TimeBytes()
	switch {
	case err != nil:
		return malformed("timestamp", line, err)
	case stamp == nil:
		return nil
	}
	t, err := strconv.ParseInt(string(stamp), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("timestamp %s is not an integer", quote(stamp))
	}
	if err == nil {
		l.Time, l.HasTime = dialect.milliseconds(t)
	}
	if !l.HasTime {
		return fmt.Errorf("timestamp %s is out of range", quote(stamp))
	}
	return nil
}

func decodeFields(d *influx.Decoder, line []byte, l *Line) error {
	found := false
	for {
		name, v, err := nextField(d, line)
		switch {
		case err != nil:
			return err
		case name == nil && !found:
			return fmt.Errorf("no field named %q", valueField)
		case name == nil:
			return nil
		case string(name) != valueField:
			continue
		case found:
			return fmt.Errorf("field %q appears twice", valueField)
		}
		if l.Value, err = number(v); err != nil {
			return fmt.Errorf("field %q: %w", valueField, err)
		}
		found = true
	}
}

// nextField returns the next field of a line, and a nil name after the last one.
func nextField(d *influx.Decoder, line []byte) (name []byte, v influx.Value, err error) {
	name, kind, data, err := d.NextFieldBytes()
	switch {
	case err != nil:
		return nil, v, malformed("field", line, err)
	case name == nil:
		return nil, v, nil
	}
	v, err = influx.NewValueFromBytes(kind, data)
	switch {
	case errors.Is(err, influx.ErrValueOutOfRange):
		err = fmt.Errorf("field %s: %s is out of range", quote(name), quote(data))
	case err != nil:
		err = fmt.Errorf("field %s: %s is not a finite number", quote(name), quote(data))
	}
	return name, v, err
}

func number(v influx.Value) (float64, error) {
	switch v.Kind() {
	case influx.Float:
		return v.FloatV(), nil
	case influx.Int:
		return float64(v.IntV()), nil
	case influx.Uint:
		return float64(v.UintV()), nil
	default:
		return 0, fmt.Errorf("a %s is not a number", v.Kind())
	}
}

// malformed converts a syntax error of the library. The library's text is left out, as it may
// repeat the whole line.
func malformed(what string, line []byte, err error) error {
	at, ok := errors.AsType[*influx.DecodeError](err)
	if !ok {
		return fmt.Errorf("malformed %s", what)
	}
	indent := len(line) - len(bytes.TrimLeft(line, " ")) // the library does not count it
	column := indent + at.Column
	if column > len(line) {
		return fmt.Errorf("the line ends where a %s is expected", what)
	}
	return fmt.Errorf("column %d: malformed %s: %s", column, what, quote(line[column-1:]))
}
