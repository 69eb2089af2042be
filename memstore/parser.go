package memstore

import (
	"encoding/binary"
	"math"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

// parser reads the fields of a record. After an error all fields are zero.
type parser struct {
	binfmt.Reader
	cut bool // value found too few bytes
}

// tag reads a uvarint; numbers of two bytes, which are the most frequent, take a fast path.
func (p *parser) tag() uint64 {
	if b := p.Rest; len(b) >= 2 && b[0] >= 0x80 && b[1] < 0x80 {
		p.Rest = b[2:]
		return uint64(b[0]&0x7f) | uint64(b[1])<<7
	}
	return p.Uvarint(0, math.MaxUint64, "entry")
}

// value reads a float64 of which only the highest n bytes are stored. It sets cut, not Err, where
// bytes are missing: a call would keep it from being inlined.
func (p *parser) value(n int) float64 {
	if n > len(p.Rest) {
		p.cut = true
		return 0
	}
	var b uint64
	if len(p.Rest) >= 8 {
		b = binary.LittleEndian.Uint64(p.Rest) << (64 - 8*n)
	} else {
		for i, c := range p.Rest[:n] {
			b |= uint64(c) << (64 - 8*n + 8*i)
		}
	}
	p.Rest = p.Rest[n:]
	return math.Float64frombits(b)
}

func (p *parser) name(what string) string { return p.String(0, math.MaxInt, what) }

// knownName returns a name; if it is the given one, without an allocation.
func (p *parser) knownName(known string) string {
	if b := p.Rest; len(b) > len(known) && int(b[0]) == len(known) && len(known) < 0x80 && string(b[1:1+len(known)]) == known {
		p.Rest = b[1+len(known):]
		return known
	}
	return p.name("name")
}

// element reads one element of a path: several names.
func (p *parser) element() []string {
	var names []string
	for n := p.Count(1, "names of a path element"); n > 0 && p.Err() == nil; n-- {
		names = append(names, p.name("name"))
	}
	return names
}

// frequency reads a frequency in seconds and returns it in milliseconds.
func (p *parser) frequency() int64 {
	return int64(p.Uvarint(1, math.MaxInt32, "frequency")) * 1000
}
