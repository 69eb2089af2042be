// Package lineprotocol reads InfluxDB line protocol
// (https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/): it
// splits a batch into lines, finds each line's series key, value and timestamp, and
// takes a key apart into metric, cluster, host and device.
//
// Nearly every line a collector sends has the plain shape
//
//	metric,tag=a,tag=b value=1.5 1795308589
//
// and is read without an allocation. Any other line goes through the decoder of
// github.com/influxdata/line-protocol, with which the plain path agrees to the bit.
// The grammar differs in two points: a newline always ends a line, even inside a
// quoted string field, so that one stray quote cannot swallow a batch, and a comment may
// hold any bytes. What else is refused here is listed in oracle_test.go.
//
// Scanning and parsing keys are separate because a caller that finds a series by
// its key's bytes needs ParseKey only for a key that it has not met.
//
// The package must not know where a batch came from (HTTP, NATS, a file), which
// metrics are configured, or what a store makes of a sample.
package lineprotocol

import (
	"bytes"
	"fmt"
	"strconv"
	"time"
)

const (
	// MaxLine is the length in bytes, without its newline, beyond which a line is refused.
	MaxLine = 64 << 10
	// MaxKey is the length in bytes beyond which a series key is refused.
	MaxKey = 4 << 10
)

var errLineTooLong = fmt.Errorf("the line is longer than %d bytes", MaxLine)

// Line is one line of a batch, split but not resolved.
type Line struct {
	Number  int     // 1-based within the batch; comments and empty lines count
	Key     []byte  // measurement and tags as received, unchecked; aliases the batch
	Field   []byte  // with [Dialect.EachField], the field's name; nil for the one named "value"
	Value   float64 // of the field named "value", or of Field; never NaN or infinite
	Time    int64   // Unix milliseconds, finer units rounded down; 0 without HasTime
	HasTime bool    // false: the line has no timestamp, its sender means now
}

// Dialect is what senders do not agree on. The zero Dialect is that of a collector.
type Dialect struct {
	// EachField gives a Line for each field of a line, as InfluxDB's clients send
	// several in one: true is 1 and false is 0, strings are left out. Otherwise a line
	// has a field named "value", and no other counts.
	EachField bool
	// Unit of timestamps, a fraction or a multiple of a millisecond; 0: each tells its
	// own by its size.
	Unit time.Duration
}

// LineError says why one line of a batch was refused.
type LineError struct {
	Line   int    // 1-based within the batch
	Reason string // short, printable, fit for a client to read
}

func (e *LineError) Error() string {
	return fmt.Sprintf("line %d: %s", e.Line, e.Reason)
}

// Scanner walks the lines of a batch. Its zero value is an empty batch. It may be
// reused, but not by several goroutines at once.
type Scanner struct {
	dialect Dialect
	rest    []byte // what is not yet scanned
	number  int    // lines taken off rest so far
	fields  fields // of a line, that Next has not given yet

	// The lines of one interval mostly share their timestamp, so that the last plain
	// one is kept as it was received and as it was read.
	stamp     []byte
	stampTime int64
}

// Reset starts on a new batch of collectors' lines. The scanner reads it in place
// and the keys that it finds point into it: the caller leaves it alone until it is
// done with both.
func (s *Scanner) Reset(batch []byte) { s.ResetTo(Dialect{}, batch) }

// ResetTo is Reset for lines of a dialect.
func (s *Scanner) ResetTo(d Dialect, batch []byte) {
	*s = Scanner{dialect: d, rest: batch, fields: s.fields.none()}
}

// Next finds the next line that is neither empty nor a comment, and reports whether
// there was one. A line that is not acceptable gives true and a *LineError, and the
// scan goes on after it; of l only Number is meaningful then.
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
			return true, s.refuse(l, errLineTooLong)
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
			return true, s.refuse(l, err)
		}
		return true, nil
	}
	return false, nil
}

// Lines returns how many lines have been passed since Reset, empty ones and comments
// included: what a caller that feeds a stream in pieces adds to later line numbers.
func (s *Scanner) Lines() int {
	return s.number
}

// Cut splits a piece of a stream after its last newline: complete can be scanned,
// rest is the beginning of a line that has not ended. Both alias buf.
func Cut(buf []byte) (complete, rest []byte) {
	end := bytes.LastIndexByte(buf, '\n') + 1
	return buf[:end], buf[end:]
}

func (s *Scanner) refuse(l *Line, reason error) error {
	*l = Line{Number: s.number}
	return &LineError{Line: s.number, Reason: reason.Error()}
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

// scanPlain reads a line of the plain shape. Where it reports false, the line may
// still be a good one, and l is partly overwritten.
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

// keyEnd returns the position of the first unescaped space, or -1. A backslash
// does not escape another one, so the byte before the space decides.
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

// ignorable reports whether a line holds no entry: it is a comment, or empty but for
// leading spaces and a carriage return.
func ignorable(line []byte) bool {
	line = bytes.TrimLeft(line, " ")
	return len(line) == 0 || line[0] == '#' || string(line) == "\r"
}

// maxQuoted bounds in bytes what a reason repeats of its input.
const maxQuoted = 64

// quote makes input printable and cuts it to maxQuoted bytes, quotes included.
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
