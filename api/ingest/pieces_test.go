package ingest

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/memstore"
)

// largest is a Writer that remembers its largest batch.
type largest struct {
	direct
	samples int
}

func (w *largest) WriteFrom(ctx context.Context, from memstore.Origin, batch []memstore.Sample) ([]memstore.Refusal, error) {
	w.samples = max(w.samples, len(batch))
	return w.direct.WriteFrom(ctx, from, batch)
}

// A long line, wherever it stands, is rejected by itself, and does not make a piece larger.
func TestLongLines(t *testing.T) {
	const good = "load,cluster=a,hostname=n1 value=1 1795308600\n"
	long := func(n int) string { return "load,cluster=a,hostname=" + strings.Repeat("h", n) + " value=1\n" }
	many := strings.Repeat(good, 4*chunkBytes/len(good))
	f := func(name, batch string, accepted, rejected int) {
		t.Run(name, func(t *testing.T) {
			g, s := newIngester(t, nil, "load")
			w := &largest{direct: direct{s}}
			g.Writer = w
			whole, err := g.Batch(t.Context(), Source{}, []byte(batch))
			if err != nil || whole.Accepted != accepted || whole.RejectedTotal != rejected {
				t.Errorf("%d accepted, %d rejected, %v; want %d and %d", whole.Accepted, whole.RejectedTotal, err, accepted, rejected)
			}
			if w.samples > chunkBytes/len(good) {
				t.Errorf("a piece has %d samples", w.samples)
			}
			read, err := g.Stream(t.Context(), Source{}, bytes.NewReader([]byte(batch)))
			if err != nil || !reflect.DeepEqual(read, whole) {
				t.Errorf("as a stream: %+v, %v; want %+v", read, err, whole)
			}
		})
	}
	n := strings.Count(many, "\n")
	f("first, longer than a piece", long(200_000)+many, n, 1)
	f("first, of many pieces", long(20*chunkBytes)+many, n, 1)
	f("between", many+long(200_000)+many, 2*n, 1)
	f("last", many+long(200_000), n, 1)
	f("last, without a newline", many+strings.TrimSpace(long(200_000)), n, 1)
	f("several", long(200_000)+long(200_000)+many+long(70_000)+long(70_000), n, 4)
	f("as long as a piece", strings.Repeat("h", chunkBytes)+"\n"+many, n, 1)
	f("as long as a piece with its newline", strings.Repeat("h", chunkBytes-1)+"\n"+many, n, 1)
	f("alone", strings.Repeat("h", 3*chunkBytes), 0, 1)
}
