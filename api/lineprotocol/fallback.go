package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"
)

// valueField is the field that holds the sample; others are checked and ignored.
const valueField = "value"

// scanOther reads a line of any shape by the library. The error's text is a reason.
func scanOther(line []byte, l *Line) error {
	entry := bytes.TrimLeft(line, " ")
	end := keyEnd(entry)
	switch {
	case end < 0:
		return errors.New("no field after the metric and its tags")
	case end > MaxKey:
		return errKeyTooLong
	}
	l.Key = entry[:end]
	err := decode(line, l)
	if err == nil {
		return nil
	}
	// What is wrong with the key is said in the same words as for a plain line.
	if _, keyErr := ParseKey(l.Key); keyErr != nil {
		return keyErr
	}
	return err
}

func decode(line []byte, l *Line) error {
	d := influx.NewDecoderWithBytes(line)
	d.Next()
	if err := decodeFields(d, line, l); err != nil {
		return err
	}
	stamp, err := d.TimeBytes()
	switch {
	case err != nil:
		return malformed("timestamp", line, err)
	case stamp == nil:
		return nil
	}
	t, err := strconv.ParseInt(string(stamp), 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("timestamp %s is out of range", quote(stamp))
	case err != nil:
		return fmt.Errorf("timestamp %s is not an integer", quote(stamp))
	}
	l.Time, l.HasTime = milliseconds(t), true
	return nil
}

func decodeFields(d *influx.Decoder, line []byte, l *Line) error {
	found := false
	for {
		name, kind, data, err := d.NextFieldBytes()
		switch {
		case err != nil:
			return malformed("field", line, err)
		case name == nil && !found:
			return fmt.Errorf("no field named %q", valueField)
		case name == nil:
			return nil
		}
		v, err := influx.NewValueFromBytes(kind, data)
		switch {
		case errors.Is(err, influx.ErrValueOutOfRange):
			return fmt.Errorf("field %s: %s is out of range", quote(name), quote(data))
		case err != nil:
			return fmt.Errorf("field %s: %s is not a finite number", quote(name), quote(data))
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

// malformed says where the library met a syntax error. Its own text is left out, as
// it may repeat the whole line.
func malformed(what string, line []byte, err error) error {
	at, ok := errors.AsType[*influx.DecodeError](err)
	if !ok {
		return fmt.Errorf("malformed %s", what)
	}
	indent := len(line) - len(bytes.TrimLeft(line, " ")) // which the library does not count
	column := indent + at.Column
	if column > len(line) {
		return fmt.Errorf("the line ends where a %s is expected", what)
	}
	return fmt.Errorf("column %d: malformed %s: %s", column, what, quote(line[column-1:]))
}
