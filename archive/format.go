package archive

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"

	"github.com/ringstore/ringstore/memstore"
)

const (
	magic      = "RSCKPT\x00\x01"
	recordHead = 8
	// maxRecord is more than a host can hold, and less than the length field
	// could make a damaged file ask for.
	maxRecord = 1 << 30
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendHost appends the payload of a host's record.
func appendHost(dst []byte, h memstore.HostDump) []byte {
	dst = appendString(dst, h.Cluster)
	dst = appendString(dst, h.Host)
	dst = binary.AppendUvarint(dst, uint64(len(h.Lanes)))
	for _, l := range h.Lanes {
		dst = binary.AppendUvarint(dst, uint64(l.Frequency))
		dst = binary.AppendUvarint(dst, uint64(l.Grid))
	}
	dst = binary.AppendUvarint(dst, uint64(len(h.Series)))
	for _, s := range h.Series {
		dst = appendString(dst, s.Metric)
		dst = appendString(dst, s.Device.Type)
		dst = appendString(dst, s.Device.TypeID)
		dst = appendString(dst, s.Device.Subtype)
		dst = appendString(dst, s.Device.SubtypeID)
		dst = binary.AppendUvarint(dst, uint64(s.Frequency))
		dst = binary.AppendVarint(dst, s.Start)
		dst = binary.AppendUvarint(dst, uint64(len(s.Values)))
		for _, v := range s.Values {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

var errTruncated = errors.New("the record ends too early")

// parseHost reads the payload of a host's record. It allocates no more than
// the payload can fill.
func parseHost(payload []byte) (memstore.HostDump, error) {
	p := parser{rest: payload}
	h := memstore.HostDump{Cluster: p.string(), Host: p.string()}
	for n := p.uvarint(); n > 0 && p.err == nil; n-- {
		h.Lanes = append(h.Lanes, memstore.LaneDump{Frequency: int64(p.uvarint()), Grid: int64(p.uvarint())})
	}
	for n := p.uvarint(); n > 0 && p.err == nil; n-- {
		s := memstore.SeriesDump{
			Metric:    p.string(),
			Device:    memstore.Device{Type: p.string(), TypeID: p.string(), Subtype: p.string(), SubtypeID: p.string()},
			Frequency: int64(p.uvarint()),
			Start:     p.varint(),
		}
		s.Values = p.floats(p.uvarint())
		if p.err == nil && s.Frequency <= 0 {
			p.err = errors.New("a frequency that is not positive")
		}
		h.Series = append(h.Series, s)
	}
	if p.err == nil && len(p.rest) > 0 {
		p.err = errors.New("bytes after the end of the record")
	}
	return h, p.err
}

// parser takes fields off the front of a payload; after an error all are zero.
type parser struct {
	rest []byte
	err  error
}

func (p *parser) take(n uint64) []byte {
	if p.err == nil && n > uint64(len(p.rest)) {
		p.err = errTruncated
	}
	if p.err != nil {
		return nil
	}
	field := p.rest[:n]
	p.rest = p.rest[n:]
	return field
}

func (p *parser) uvarint() uint64 {
	v, n := binary.Uvarint(p.rest)
	return v * uint64(p.advance(n))
}

func (p *parser) varint() int64 {
	v, n := binary.Varint(p.rest)
	return v * int64(p.advance(n))
}

// advance passes over a varint of n bytes and returns 1, or 0 if it was none.
func (p *parser) advance(n int) int {
	if p.err == nil && n <= 0 {
		p.err = errTruncated
	}
	if p.err != nil {
		return 0
	}
	p.rest = p.rest[n:]
	return 1
}

func (p *parser) string() string { return string(p.take(p.uvarint())) }

func (p *parser) floats(n uint64) []float64 {
	if n > uint64(len(p.rest))/8 {
		p.err = errTruncated
	}
	raw := p.take(n * 8)
	if p.err != nil {
		return nil
	}
	values := make([]float64, n)
	for i := range values {
		values[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return values
}
