package object

import (
	"bytes"
	"encoding/json"
)

// reader reads JSON from data[at:].
type reader struct {
	data   []byte
	at     int
	values int // that there may yet be
}

// next returns the next byte that is not white space, and stays before it; 0 at the end, or for what no JSON has.
func (r *reader) next() byte {
	for ; r.at < len(r.data); r.at++ {
		switch c := r.data[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

// take passes over c if that is next.
func (r *reader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.at++
	return true
}

// value reads a value in which objects and arrays may be nested as deep as that.
func (r *reader) value(depth int) (any, error) {
	if r.values--; r.values < 0 {
		return nil, errValues
	}
	switch c := r.next(); c {
	case '{', '[':
		if depth == 0 {
			return nil, errDepth
		}
		r.values--
		r.at++
		if c == '{' {
			return r.object(depth - 1)
		}
		return r.array(depth - 1)
	case '"':
		return r.text()
	case 't':
		return true, r.word("true")
	case 'f':
		return false, r.word("false")
	case 'n':
		return nil, r.word("null")
	default:
		return r.number()
	}
}

func (r *reader) object(depth int) (any, error) {
	size := 0
	if depth == MaxDepth-1 { // the outermost has the most: claims are two dozen
		size = min(len(r.data)/32, 64)
	}
	members := make(map[string]any, size)
	if r.take('}') {
		return members, nil
	}
	for {
		if r.next() != '"' {
			return nil, errNotObject
		}
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		if !r.take(':') {
			return nil, errNotObject
		}
		value, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		before := len(members)
		if members[name] = value; len(members) == before {
			return nil, errDuplicate
		}
		if r.take('}') {
			return members, nil
		}
		if !r.take(',') {
			return nil, errNotObject
		}
	}
}

func (r *reader) array(depth int) (any, error) {
	list := []any{}
	if r.take(']') {
		return list, nil
	}
	for {
		value, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
		if r.take(']') {
			return list, nil
		}
		if !r.take(',') {
			return nil, errNotObject
		}
	}
}

func (r *reader) word(w string) error {
	if !bytes.HasPrefix(r.data[r.at:], []byte(w)) {
		return errNotObject
	}
	r.at += len(w)
	return nil
}

// number takes a number as RFC 8259 section 6 writes them, and leaves what it comes to to whoever wants to know: for
// some that takes longer than to verify a signature.
func (r *reader) number() (any, error) {
	start := r.at
	if r.has('-') {
		r.at++
	}
	if !r.has('0') {
		if !r.digits() {
			return nil, errNotObject
		}
	} else {
		r.at++
	}
	if r.has('.') {
		r.at++
		if !r.digits() {
			return nil, errNotObject
		}
	}
	if r.has('e') || r.has('E') {
		r.at++
		if r.has('+') || r.has('-') {
			r.at++
		}
		if !r.digits() {
			return nil, errNotObject
		}
	}
	return json.Number(r.data[start:r.at]), nil
}

func (r *reader) has(c byte) bool { return r.at < len(r.data) && r.data[r.at] == c }

// digits passes over digits, of which there must be one.
func (r *reader) digits() bool {
	start := r.at
	for r.at < len(r.data) && '0' <= r.data[r.at] && r.data[r.at] <= '9' {
		r.at++
	}
	return r.at > start
}
