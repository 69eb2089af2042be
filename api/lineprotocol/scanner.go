// Package lineprotocol reads InfluxDB line protocol
// (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/): it splits a batch into
// lines, finds each line's series key, value and timestamp, and parses a key into metric, cluster,
// host and device.
//
// Nearly every line of a collector has the plain shape
//
//	metric,tag=a,tag=b value=1.5 1795308589
//
// and is read without an allocation. The library github.com/influxdata/line-protocol decodes any
// other line; for plain lines both give identical results. The grammar differs from the library's
// in two points: a newline always ends a line, even inside a quoted string, so that one stray quote
// cannot swallow a batch; and a comment may contain any bytes. oracle_test.go lists what this
// package rejects in addition.
//
// Scanning a line does not parse its key, because a caller that knows the series by the key's bytes
// needs [ParseKey] only for new keys.
//
// The package must not know where a batch came from (HTTP, NATS, a file), which metrics are
// configured, or how samples are stored.
package lineprotocol

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

const (
	// MaxLine is the largest length of a line in bytes, without its newline.
	MaxLine = 64 << 10
	// MaxKey is the largest length of a series key in bytes.
	MaxKey = 4 << 10
)

var errLineTooLong = fmt.Errorf("the line is longer than %d bytes", MaxLine)

// Line is one line of a batch, or one field of it with [Dialect.EachField]. Its key is not parsed.
type Line struct {
	Number  int     // 1-based within the batch; comments and empty lines count
	Key     []byte  // measurement and tags as received, unchecked; aliases the batch
	Field   []byte  // name of the field with EachField; nil for the field named "value"
	Value   float64 // of Field, or of the field named "value"; never NaN or infinite
	Time    int64   // Unix milliseconds, finer units rounded down; 0 without HasTime
	HasTime bool    // false: the line has no timestamp and means now
}

// Dialect says how to read what senders do differently. The zero Dialect is that of
// cc-metric-collector.
type Dialect struct {
	// EachField returns a Line for each field, as lines of InfluxDB's clients have several. true is
	// 1, false is 0, and strings are skipped. Without EachField only the field named "value" is
	// read.
	EachField bool
	// Unit of timestamps, a fraction or a multiple of a millisecond. 0: each timestamp's unit
	// follows from its size.
	Unit time.Duration
}

// LineError says why one line of a batch was rejected.
type LineError struct {
	Line   int    // 1-based within the batch
	Reason string // short and printable, for the client
	Text   []byte // of the line; aliases the batch
}

func (e *LineError) Error() string {
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// Scanner scans the lines of a batch. Its zero value has an empty batch. It may be reused, but is
// not safe for concurrent use.
type Scanner struct {
	dialect Dialect
	rest    []byte // not yet scanned
	number  int    // of the last line
	fields  fields // of the last line, with EachField

	// The last plain timestamp and its time. The lines of one interval mostly share it.
	stamp     []byte
	stampTime int64
}

// Reset starts a new batch in the zero Dialect. The scanner reads it in place and returns keys that
// alias it: the caller must not change the batch while it uses either.
func (s *Scanner) Reset(batch []byte) { s.ResetTo(Dialect{}, batch) }

// ResetTo is Reset with a dialect.
func (s *Scanner) ResetTo(d Dialect, batch []byte) {
	*s = Scanner{dialect: d, rest: batch, fields: s.fields.emptied()}
}

// Next finds the next line that is neither empty nor a comment, and reports whether there was one.
// For a bad line it returns true and a *LineError and sets only the Number of l; the next call
// continues after it.
//
//	for {
//		ok, err := s.Next(&l)
//		if !ok {
//			break
//		}
//		if err != nil {
//			...
//		}
//	}
func (s *Scanner) Next(l *Line) (ok bool, err error) {
	if s.dialect.EachField {
		return s.nextField(l)
	}
	for len(s.rest) > 0 {
		line := s.cutLine()
		if len(line) > MaxLine {
			return true, s.reject(l, line, errLineTooLong)
		}
		if s.scanPlain(line, l) {
			l.Number = s.number
			return true, nil
		}
		if ignorable(line) {
			continue
		}
		*l = Line{Number: s.number}
		if err := scanOther(line, l, s.dialect); err != nil {
			return true, s.reject(l, line, err)
		}
		return true, nil
	}
	return false, nil
}

// Lines returns the number of lines scanned since Reset, including empty lines and comments. A
// caller that scans a stream in pieces adds it to the line numbers of the next piece.
func (s *Scanner) Lines() int {
	return s.number
}

// Cut splits a piece of a stream after its last newline, into complete lines and the beginning of
// the next. Both alias buf.
func Cut(buf []byte) (complete, rest []byte) {
	end := bytes.LastIndexByte(buf, '\n') + 1
	return buf[:end], buf[end:]
}

func (s *Scanner) reject(l *Line, line []byte, reason error) error {
	*l = Line{Number: s.number}
	return &LineError{Line: s.number, Reason: reason.Error(), Text: line}
}

func (s *Scanner) cutLine() []byte {
	s.number++
	line := s.rest
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line, s.rest = line[:end], line[end+1:]
	} else {
		s.rest = nil
	}
	return line
}

// scanPlain reads a line of the plain shape. If it returns false, the library may still accept the
// line, and l is partly overwritten.
func (s *Scanner) scanPlain(line []byte, l *Line) bool {
	const field = valueField + "="
	end := keyEnd(line)
	if end <= 0 || end > MaxKey || line[0] == '#' || len(line)-end-1 < len(field) {
		return false
	}
	rest := line[end+1:]
	if string(rest[:len(field)]) != field {
		return false
	}
	rest = rest[len(field):]
	value, n, ok := parseNumber(rest)
	if !ok {
		return false
	}
	l.Key, l.Field, l.Value, l.Time, l.HasTime = line[:end], nil, value, 0, false
	if n == len(rest) {
		return true
	}
	if rest[n] != ' ' {
		return false
	}
	l.Time, l.HasTime = s.timestamp(rest[n+1:])
	return l.HasTime
}

func (s *Scanner) timestamp(b []byte) (ms int64, ok bool) {
	if len(b) > 0 && bytes.Equal(b, s.stamp) {
		return s.stampTime, true
	}
	t, ok := parseTimestamp(b)
	if !ok {
		return 0, false
	}
	if ms, ok = s.dialect.milliseconds(t); ok {
		s.stamp, s.stampTime = b, ms
	}
	return ms, ok
}

// keyEnd returns the index of the first unescaped space, or -1. A backslash does not escape another
// one, so only the byte before the space counts.
func keyEnd(line []byte) int {
	for from := 0; ; {
		i := bytes.IndexByte(line[from:], ' ')
		if i < 0 {
			return -1
		}
		if i += from; i == 0 || line[i-1] != '\\' {
			return i
		}
		from = i + 1
	}
}

// ignorable reports whether a line is a comment, or has only spaces and a carriage return after
// them.
func ignorable(line []byte) bool {
	line = bytes.TrimLeft(line, " ")
	return len(line) == 0 || line[0] == '#' || string(line) == "\r"
}

// maxQuoted bounds what a reason quotes of its input, in bytes with quotes and escapes.
const maxQuoted = 64

// quote returns input as a quoted, printable string of at most maxQuoted bytes.
func quote(input []byte) string {
	const more = "..."
	if len(input) <= maxQuoted {
		if whole := strconv.Quote(string(input)); len(whole) <= maxQuoted {
			return whole
		}
	}
	n := min(len(input), maxQuoted)
	for len(strconv.Quote(string(input[:n])))+len(more) > maxQuoted {
		n--
	}
	return strconv.Quote(string(input[:n])) + more
}
