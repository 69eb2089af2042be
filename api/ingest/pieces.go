package ingest

import (
	"errors"
	"io"

	"github.com/ringstore/ringstore/api/lineprotocol"
)

// pieces cuts a stream into pieces that end with a line, as large as its
// buffer holds. Of a line that is longer than the buffer it gives the
// beginning, which is too long for any line, and passes over the rest.
type pieces struct {
	r     io.Reader
	buf   []byte
	begin int // of what the last piece left
	held  int // end of what is in buf
	err   error
	long  bool // in the middle of a line that is passed over
}

// next returns the next piece, valid until the call after it, and io.EOF after
// the last.
func (p *pieces) next() ([]byte, error) {
	for {
		p.held = copy(p.buf, p.buf[p.begin:p.held])
		p.begin = 0
		for p.err == nil && p.held < len(p.buf) {
			var n int
			n, p.err = p.r.Read(p.buf[p.held:])
			p.held += n
		}
		if p.err != nil && !errors.Is(p.err, io.EOF) {
			return nil, p.err
		}
		piece := p.cut()
		if len(piece) > 0 {
			return piece, nil
		}
		if p.err != nil && p.begin == p.held {
			return nil, io.EOF
		}
	}
}

// cut takes the next piece out of the buffer; it is empty where all that is
// there belongs to a line that is passed over.
func (p *pieces) cut() []byte {
	in := p.buf[:p.held]
	complete, _ := lineprotocol.Cut(in)
	ended := p.err != nil
	switch {
	case p.long:
		return p.passOver(in)
	case len(complete) > 0 && !ended:
		p.begin = len(complete)
		return complete
	default:
		p.begin = p.held
		p.long = !ended
		return in
	}
}

func (p *pieces) passOver(in []byte) []byte {
	for i, b := range in {
		if b == '\n' {
			p.begin, p.long = i+1, false
			return nil
		}
	}
	p.begin = p.held
	return nil
}
