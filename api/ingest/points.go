package ingest

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// Points are the samples of a batch that is not line protocol. Next has the contract of
// [lineprotocol.Scanner.Next], except that the caller numbers the samples, and that the key need
// only stay valid until the next call. Values may be infinite, but not NaN.
type Points interface {
	Next(l *lineprotocol.Line) (ok bool, err error)
}

// pointsAtOnce is how many samples are stored together.
const pointsAtOnce = 4096

// Points stores a batch of so many bytes in bounded memory, by the rules that hold for lines. The
// report numbers samples where it otherwise numbers lines. The error is the Writer's or
// [memstore.ErrMemory]; the report then covers what was stored before.
func (g *Ingester) Points(ctx context.Context, src Source, points Points, size int) (Report, error) {
	t := g.counters.forTransport(src.Transport)
	t.batches.Inc()
	t.bytes.Add(float64(size))
	var report Report
	c := g.chunk()
	defer g.chunks.Put(c)
	c.points.ended = false
	for first := 0; ; {
		c.points.source = points
		n, err := g.store(ctx, src, c, nil, first, &report)
		if err != nil || c.points.ended {
			return report, err
		}
		first += n
	}
}

// pointPiece is a piece of a batch of points.
type pointPiece struct {
	source Points            // nil: the batch is lines
	line   lineprotocol.Line // here, so that calls of source allocate none
	n      int               // samples of the piece
	keys   []byte            // of the piece
	ended  bool              // source has no more; reset keeps it
}

// next is like [lineprotocol.Scanner.Next], up to the end of the piece.
func (p *pointPiece) next(l *lineprotocol.Line) (ok bool, err error) {
	if p.n == pointsAtOnce || len(p.keys) >= chunkBytes {
		return false, nil
	}
	if ok, err = p.source.Next(&p.line); !ok {
		p.ended = true
		return false, nil
	}
	p.n++
	before := l.Key
	*l = p.line
	l.Key, l.Number = nil, p.n
	if err == nil {
		l.Key = p.keep(before)
	}
	return true, err
}

// keep returns a copy of the line's key that stays valid for the piece. before is the key of the
// line before, or nil.
func (p *pointPiece) keep(before []byte) []byte {
	if before != nil && bytes.Equal(before, p.line.Key) {
		return before
	}
	start := len(p.keys)
	p.keys = append(p.keys, p.line.Key...)
	return p.keys[start:len(p.keys):len(p.keys)]
}

func (p *pointPiece) reset() { *p = pointPiece{keys: p.keys[:0], ended: p.ended} }

// next finds the next line or point of the piece.
func (c *chunk) next(l *lineprotocol.Line) (ok bool, err error) {
	if c.points.source != nil {
		return c.points.next(l)
	}
	return c.scanner.Next(l)
}

// count returns how many lines or points of the piece were read.
func (c *chunk) count() int {
	if c.points.source != nil {
		return c.points.n
	}
	return c.scanner.Lines()
}

// pointMoment is moment for a point.
func pointMoment(why memstore.RefusalReason, ms int64) string {
	switch why {
	case memstore.RefusedFuture, memstore.RefusedOld, memstore.RefusedEvicted:
		return fmt.Sprintf(": %d ms is %s", ms, time.UnixMilli(ms).UTC().Format(time.RFC3339))
	}
	return ""
}
