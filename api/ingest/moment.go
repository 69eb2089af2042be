package ingest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/ringstore/ringstore/api/lineprotocol"
	"github.com/ringstore/ringstore/memstore"
)

// moment returns, as the end of a refusal's reason, how a line's timestamp was read. It is empty if
// the timestamp is not the reason. A sender whose timestamps are in another unit sees it at once.
func moment(why memstore.RefusalReason, ms int64, d lineprotocol.Dialect, line []byte) string {
	switch why {
	case memstore.RefusedFuture, memstore.RefusedOld, memstore.RefusedEvicted:
	default:
		return ""
	}
	stamp, unit, ok := d.Timestamp(line)
	if !ok {
		return ""
	}
	return fmt.Sprintf(": %s read as %s is %s", stamp, unit, time.UnixMilli(ms).UTC().Format(time.RFC3339))
}

// lineFinder finds lines of a piece by their number.
type lineFinder struct {
	rest []byte
	next int // number of the first line of rest
}

// line returns a line, whose number must not be less than that of the call before.
func (f *lineFinder) line(number int) []byte {
	for ; f.next < number; f.next++ {
		_, f.rest, _ = bytes.Cut(f.rest, []byte{'\n'})
	}
	line, _, _ := bytes.Cut(f.rest, []byte{'\n'})
	return line
}
