package prometheus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
)

// writeMessage is a message of remote write, which is read in place: its structs would take fifty
// times the memory of a message that was made for it. Version 1 is prometheus.WriteRequest, version 2
// io.prometheus.write.v2.Request.
type writeMessage struct {
	version int
	bytes   []byte
	symbols []uint32 // where they begin in bytes; of version 2

	samples int // in all series
}

// The fields of both messages.
const (
	v1Series = 1 // of the message

	v2Symbols = 4
	v2Series  = 5

	seriesLabels  = 1 // of a series; references to symbols in version 2
	seriesSamples = 2

	labelName  = 1 // of a label in version 1
	labelValue = 2

	sampleValue = 1
	sampleTime  = 2
)

// maxLabels bounds the labels of one series.
const maxLabels = 64

// label is a label of a series. Both parts alias the message.
type label struct{ name, value []byte }

var errManyLabels = fmt.Errorf("more than %d labels", maxLabels)

var (
	errWireType = errors.New("a field of the wrong type")
	errSymbol   = errors.New("a label refers to no symbol")
	errSymbols  = errors.New("the first symbol is not empty")
	errOddRefs  = errors.New("a label has a name and no value")
)

// field is a field of a message.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte // of kind BytesType
	bits   uint64 // of the other kinds that the messages have
}

// cutField reads the first field of b.
func cutField(b []byte) (f field, rest []byte, err error) {
	number, kind, n := protowire.ConsumeTag(b)
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	f.number, f.kind = number, kind
	b = b[n:]
	switch kind {
	case protowire.BytesType:
		f.bytes, n = protowire.ConsumeBytes(b)
	case protowire.VarintType:
		f.bits, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.bits, n = protowire.ConsumeFixed64(b)
	default:
		n = protowire.ConsumeFieldValue(number, kind, b)
	}
	if n < 0 {
		return f, nil, protowire.ParseError(n)
	}
	return f, b[n:], nil
}

// fields calls visit for each field of a message.
func fields(b []byte, visit func(field) error) error {
	for len(b) > 0 {
		f, rest, err := cutField(b)
		if err == nil {
			err = visit(f)
		}
		if err != nil {
			return err
		}
		b = rest
	}
	return nil
}

// check reads all of the message, so that one that is damaged is refused before any of it is stored.
func (m *writeMessage) check() error {
	if m.version == 2 {
		if err := m.findSymbols(); err != nil {
			return err
		}
	}
	var labels []label
	return fields(m.bytes, func(f field) (err error) {
		if !m.isSeries(f) {
			return nil
		}
		if f.kind != protowire.BytesType {
			return errWireType
		}
		labels, err = m.labels(labels[:0], f.bytes)
		if err != nil && !errors.Is(err, errManyLabels) {
			return err
		}
		return fields(f.bytes, func(f field) error {
			if f.number != seriesSamples {
				return nil
			}
			m.samples++
			_, err := sampleOf(f)
			return err
		})
	})
}

func (m *writeMessage) isSeries(f field) bool {
	if m.version == 2 {
		return f.number == v2Series
	}
	return f.number == v1Series
}

// symbolCount returns how many symbols the message has, to account for their memory.
func (m *writeMessage) symbolCount() (n int) {
	if m.version == 2 {
		_ = fields(m.bytes, func(f field) error { // check returns the error
			if f.number == v2Symbols {
				n++
			}
			return nil
		})
	}
	return n
}

func (m *writeMessage) findSymbols() error {
	for rest := m.bytes; len(rest) > 0; {
		f, after, err := cutField(rest)
		if err != nil {
			return err
		}
		if f.number == v2Symbols {
			if f.kind != protowire.BytesType {
				return errWireType
			}
			begin := len(m.bytes) - len(after) - protowire.SizeBytes(len(f.bytes))
			m.symbols = append(m.symbols, uint32(begin))
		}
		rest = after
	}
	if first, err := m.symbol(0); len(m.bytes) > 0 && (err != nil || len(first) > 0) {
		return errSymbols // a message of version 1, for example
	}
	return nil
}

func (m *writeMessage) symbol(ref uint32) ([]byte, error) {
	if uint64(ref) >= uint64(len(m.symbols)) {
		return nil, errSymbol
	}
	text, n := protowire.ConsumeBytes(m.bytes[m.symbols[ref]:])
	if n < 0 {
		return nil, protowire.ParseError(n)
	}
	return text, nil
}

// labels appends the labels of a series to dst. The error is errManyLabels, or says that the message
// is damaged.
func (m *writeMessage) labels(dst []label, series []byte) ([]label, error) {
	refs := labelRefs{message: m, labels: dst}
	for len(series) > 0 {
		f, rest, err := cutField(series)
		series = rest
		switch {
		case err != nil:
		case f.number != seriesLabels:
		case m.version == 2:
			err = refs.addField(f)
		default:
			var l label
			l, err = labelOf(f)
			refs.add(l)
		}
		if err != nil {
			return refs.labels, err
		}
	}
	switch {
	case refs.hasName:
		return refs.labels, errOddRefs
	case refs.tooMany:
		return refs.labels, errManyLabels
	}
	return refs.labels, nil
}

// labelRefs collects the labels of a series, of which version 2 has references to names and values
// in turn.
type labelRefs struct {
	message *writeMessage
	labels  []label
	name    []byte
	hasName bool
	tooMany bool
}

func (r *labelRefs) add(l label) {
	if len(r.labels) == maxLabels {
		r.tooMany = true
		return
	}
	r.labels = append(r.labels, l)
}

// addField adds a field of references, which may be packed or not.
func (r *labelRefs) addField(f field) error {
	switch f.kind {
	case protowire.VarintType:
		return r.addRef(f.bits)
	case protowire.BytesType:
	default:
		return errWireType
	}
	for b := f.bytes; len(b) > 0; {
		ref, n := protowire.ConsumeVarint(b)
		if n < 0 {
			return protowire.ParseError(n)
		}
		if err := r.addRef(ref); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

func (r *labelRefs) addRef(ref uint64) error {
	text, err := r.message.symbol(uint32(ref))
	if err != nil {
		return err
	}
	if r.hasName {
		r.add(label{r.name, text})
	}
	r.name, r.hasName = text, !r.hasName
	return nil
}

func labelOf(f field) (l label, err error) {
	if f.kind != protowire.BytesType {
		return l, errWireType
	}
	err = fields(f.bytes, func(f field) error {
		switch {
		case f.number != labelName && f.number != labelValue:
			return nil
		case f.kind != protowire.BytesType:
			return errWireType
		case f.number == labelName:
			l.name = f.bytes
		default:
			l.value = f.bytes
		}
		return nil
	})
	return l, err
}

// point is a sample: a time in Unix milliseconds and a value.
type point struct {
	time  int64
	value float64
}

func sampleOf(f field) (p point, err error) {
	if f.kind != protowire.BytesType {
		return p, errWireType
	}
	// The form that every sender writes: both fields once and in order.
	if b := f.bytes; len(b) > 10 && b[0] == sampleValue<<3|byte(protowire.Fixed64Type) && b[9] == sampleTime<<3|byte(protowire.VarintType) {
		if t, n := protowire.ConsumeVarint(b[10:]); n == len(b)-10 {
			return point{int64(t), math.Float64frombits(binary.LittleEndian.Uint64(b[1:]))}, nil
		}
	}
	err = fields(f.bytes, func(f field) error {
		switch {
		case f.number == sampleValue && f.kind == protowire.Fixed64Type:
			p.value = math.Float64frombits(f.bits)
		case f.number == sampleTime && f.kind == protowire.VarintType:
			p.time = int64(f.bits)
		case f.number == sampleValue || f.number == sampleTime:
			return errWireType
		}
		return nil
	})
	return p, err
}
