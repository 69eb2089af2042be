package memstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// parser takes fields off the front of a record; after an error all are zero.
type parser struct {
	rest []byte
	err  error
}

var errShort = errors.New("it ends too early")

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	return v * uint64(p.pass(n))
}

// tag is uvarint for numbers that are mostly of two bytes.
func (p *parser) tag() uint64 {
	if b := p.rest; len(b) >= 2 && b[0] >= 0x80 && b[1] < 0x80 {
		p.rest = b[2:]
		return uint64(b[0]&0x7f) | uint64(b[1])<<7
	}
	return p.uvarint()
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.rest)
	return v * int64(p.pass(n))
}

// pass passes over a varint of n bytes and returns 1, or 0 if it is none.
func (p *parser) pass(n int) int {
	if n <= 0 || p.err != nil {
		p.rest, p.err = nil, errShort
		return 0
	}
	p.rest = p.rest[n:]
	return 1
}

// value takes the n bytes of a number that are left of it.
func (p *parser) value(n int) float64 {
	if n > len(p.rest) {
		p.rest, p.err = nil, errShort
		return 0
	}
	var b uint64
	if len(p.rest) >= 8 {
		b = binary.LittleEndian.Uint64(p.rest) << (64 - 8*n)
	} else {
		for i, c := range p.rest[:n] {
			b |= uint64(c) << (64 - 8*n + 8*i)
		}
	}
	p.rest = p.rest[n:]
	return math.Float64frombits(b)
}

func (p *parser) string() string {
	n := p.uvarint()
	if n > uint64(len(p.rest)) {
		p.rest, p.err = nil, errShort
		return ""
	}
	s := string(p.rest[:n])
	p.rest = p.rest[n:]
	return s
}

func (p *parser) strings() []string {
	var all []string
	for n := p.uvarint(); n > 0 && p.err == nil; n-- {
		all = append(all, p.string())
	}
	return all
}

// seconds takes a frequency and returns it in milliseconds.
func (p *parser) seconds() int64 {
	v := p.uvarint()
	if p.err == nil && (v == 0 || v > math.MaxInt32) {
		p.rest, p.err = nil, fmt.Errorf("a frequency of %d s", v)
	}
	return int64(v) * 1000
}
