package ingest

import (
	"bytes"
	"errors"
	"io"

	"github.com/ringstore/ringstore/api/lineprotocol"
)

// cutPiece cuts the first piece of whole lines off a batch. Of a line that is longer than chunkBytes
// it returns only the beginning, as pieces does.
func cutPiece(batch []byte) (piece, rest []byte) {
	if len(batch) <= chunkBytes {
		return batch, nil
	}
	if complete, _ := lineprotocol.Cut(batch[:chunkBytes]); len(complete) > 0 {
		return complete, batch[len(complete):]
	}
	_, rest, _ = bytes.Cut(batch[chunkBytes:], []byte{'\n'})
	return batch[:chunkBytes], rest
}

// pieces splits a stream into pieces of whole lines, each as large as the buffer allows. Of a line
// that is longer than the buffer it returns only the beginning, which the scanner rejects as too
// long.
type pieces struct {
	r        io.Reader
	buf      []byte
	start    int // of the bytes in buf after the last piece
	end      int // of the bytes in buf
	err      error
	begun    bool // the first bytes have been read
	skipping bool // the rest of a long line
}

// next returns the next piece, valid until the call after it, and io.EOF after the last.
func (p *pieces) next() ([]byte, error) {
	for {
		p.end = copy(p.buf, p.buf[p.start:p.end])
		p.start = 0
		for p.err == nil && p.end < len(p.buf) {
			var n int
			n, p.err = p.r.Read(p.buf[p.end:])
			p.end += n
		}
		if p.err != nil && !errors.Is(p.err, io.EOF) {
			return nil, p.err
		}
		p.skipByteOrderMark()
		piece := p.cut()
		if len(piece) > 0 {
			return piece, nil
		}
		if p.err != nil && p.start == p.end {
			return nil, io.EOF
		}
	}
}

// skipByteOrderMark drops a mark from the first bytes, of which there are enough in the buffer.
func (p *pieces) skipByteOrderMark() {
	if !p.begun && bytes.HasPrefix(p.buf[:p.end], []byte(byteOrderMark)) {
		p.end = copy(p.buf, p.buf[len(byteOrderMark):p.end])
	}
	p.begun = true
}

// cut takes the next piece out of the buffer. It is empty if the buffer held only the rest of a
// long line.
func (p *pieces) cut() []byte {
	buffered := p.buf[:p.end]
	complete, _ := lineprotocol.Cut(buffered)
	ended := p.err != nil
	switch {
	case p.skipping:
		p.skipLine(buffered)
		return nil
	case len(complete) > 0 && !ended:
		p.start = len(complete)
		return complete
	default:
		p.start = p.end
		p.skipping = !ended
		return buffered
	}
}

// skipLine drops the buffered bytes up to the end of the line.
func (p *pieces) skipLine(buffered []byte) {
	if i := bytes.IndexByte(buffered, '\n'); i >= 0 {
		p.start, p.skipping = i+1, false
		return
	}
	p.start = p.end
}
