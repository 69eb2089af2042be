package ingest

import (
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// A byte order mark is skipped at the start of a batch and nowhere else.
func TestByteOrderMark(t *testing.T) {
	const line = "load,cluster=a,hostname=n1 value=1 1795308600\n"
	f := func(name, batch string, accepted, unknown, rejected int) {
		t.Run(name, func(t *testing.T) {
			g, _ := newIngester(t, nil, "load")
			whole, err := g.Batch(t.Context(), Source{}, []byte(batch))
			if err != nil || whole.Accepted != accepted || whole.Unknown != unknown || whole.RejectedTotal != rejected {
				t.Errorf("%+v, %v; want %d accepted, %d unknown, %d rejected", whole, err, accepted, unknown, rejected)
			}
			read, err := g.Stream(t.Context(), Source{}, iotest.OneByteReader(strings.NewReader(batch)))
			if err != nil || !reflect.DeepEqual(read, whole) {
				t.Errorf("as a stream: %+v, %v; want %+v", read, err, whole)
			}
		})
	}
	f("before a line", "\xef\xbb\xbf"+line, 1, 0, 0)
	f("before lines longer than the buffer", "\xef\xbb\xbf"+strings.Repeat(line, 2*chunkBytes/len(line)), 2*chunkBytes/len(line), 0, 0)
	f("before a comment", "\xef\xbb\xbf# x\n"+line, 1, 0, 0)
	f("alone", "\xef\xbb\xbf", 0, 0, 0)
	f("twice", "\xef\xbb\xbf\xef\xbb\xbf"+line, 0, 1, 0)
	f("before a later line", line+"\xef\xbb\xbf"+line, 1, 1, 0)
	f("cut short", "\xef\xbb", 0, 0, 1)
	f("of UTF-16", "\xff\xfel\x00o\x00a\x00d\x00", 0, 0, 1)
}
