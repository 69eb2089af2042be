package ccms

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math"
)

// A log is little endian. It consists of a magic number and records: magic number, length of the
// payload (uint32), payload, CRC-32 (IEEE) of the payload. The payload is the time in Unix seconds
// (int64), the metric's name with its length (uint16), the number of levels below the host (uint8),
// their names with their lengths (uint8), and the value (float32).
const (
	logMagic    = 0xCC1DA701
	recordMagic = 0xCC1DA7A1
	recordHead  = 4 + 4
	minPayload  = 8 + 2 + 1 + 4
	maxPayload  = 4 << 10 // longer than any real names; bounds the checksum over bytes that look like a record
	maxRecord   = recordHead + maxPayload + 4

	// anchorBytes is the length of a log's start that holds the first interval of all series of a
	// host.
	anchorBytes = 1 << 20
)

var recordStart = binary.LittleEndian.AppendUint32(nil, recordMagic)

// records calls each with the payload of every sound record, and bad with the place of every
// damage, behind which it continues at the next record. torn reports that the file ends within a
// record.
func (c *cursor) records(bad func(offset int64, reason string), each func(payload []byte) error) (torn bool, err error) {
	if c.size == 0 {
		return false, nil
	}
	head, err := c.peek(4)
	switch {
	case err != nil:
		return false, err
	case len(head) < 4:
		return true, nil
	case binary.LittleEndian.Uint32(head) != logMagic:
		bad(0, fmt.Sprintf("expected the magic number %#08x of a log, got %#08x", uint32(logMagic), binary.LittleEndian.Uint32(head)))
	}
	if !bytes.Equal(head, recordStart) {
		err = c.skip(4)
	}
	for err == nil && c.left() > 0 {
		var payload []byte
		var length int
		payload, length, err = c.record()
		if wrong, ok := errors.AsType[*badRecord](err); ok {
			torn, err = c.resync(*wrong, bad)
			continue
		}
		if err == nil {
			err = each(payload)
		}
		if err == nil {
			err = c.skip(length)
		}
	}
	return torn, err
}

// badRecord says why there is no sound record at an offset.
type badRecord struct {
	reason string
	length int  // of the record in bytes, if it is plausible; else 0
	torn   bool // the file ends within the record
}

func (b *badRecord) Error() string { return b.reason }

// record returns the payload of the next record and the record's length. It does not skip the
// record.
func (c *cursor) record() (payload []byte, length int, err error) {
	b, err := c.peek(recordHead)
	if err != nil {
		return nil, 0, err
	}
	if !bytes.HasPrefix(b, recordStart[:min(4, len(b))]) {
		return nil, 0, &badRecord{reason: "expected a record"}
	}
	if len(b) < recordHead {
		return nil, 0, &badRecord{reason: "the file ends within a record", torn: true}
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n < minPayload || n > maxPayload {
		return nil, 0, &badRecord{reason: fmt.Sprintf("expected a record of %d to %d bytes, got %d", minPayload, maxPayload, n)}
	}
	length = recordHead + int(n) + 4
	if b, err = c.peek(length); err != nil {
		return nil, 0, err
	}
	if len(b) < length {
		return nil, 0, &badRecord{reason: "the file ends within a record", torn: true}
	}
	payload = b[recordHead : length-4]
	if crc32.ChecksumIEEE(payload) != binary.LittleEndian.Uint32(b[length-4:]) {
		return nil, 0, &badRecord{reason: "the checksum of a record does not match", length: length}
	}
	return payload, length, nil
}

// resync skips to the next record behind a bad one, or to the end of the file. A torn record
// without another behind it is a torn tail, not damage.
func (c *cursor) resync(wrong badRecord, bad func(int64, string)) (torn bool, err error) {
	offset := c.offset
	if wrong.length > 0 {
		b, err := c.peek(wrong.length + 4)
		if err != nil {
			return false, err
		}
		if rest := b[wrong.length:]; bytes.HasPrefix(recordStart, rest) { // the length was right
			bad(offset, wrong.reason)
			return false, c.skip(wrong.length)
		}
	}
	if err := c.skip(1); err != nil {
		return false, err
	}
	for c.left() > 0 {
		b, err := c.peek(maxRecord)
		if err != nil {
			return false, err
		}
		if i := bytes.Index(b, recordStart); i >= 0 {
			bad(offset, wrong.reason)
			return false, c.skip(i)
		}
		keep := min(len(b)-1, len(recordStart)-1)
		if int64(len(b)) == c.left() {
			keep = 0
		}
		if err := c.skip(len(b) - keep); err != nil {
			return false, err
		}
	}
	if !wrong.torn {
		bad(offset, wrong.reason)
	}
	return wrong.torn, nil
}

// splitPayload splits a payload. path are the bytes that name the series.
func splitPayload(payload []byte) (t int64, path []byte, value float64) {
	end := len(payload) - 4
	return int64(binary.LittleEndian.Uint64(payload)), payload[8:end],
		widen(math.Float32frombits(binary.LittleEndian.Uint32(payload[end:])))
}

// parsePath parses the names in a record.
func parsePath(path []byte) (seriesName, error) {
	metric, rest, ok := cut(path[2:], int(binary.LittleEndian.Uint16(path)))
	if !ok || len(rest) == 0 {
		return seriesName{}, errors.New("the name of the metric does not fit its record")
	}
	if len(metric) == 0 {
		return seriesName{}, errNoMetric
	}
	n := int(rest[0])
	rest = rest[1:]
	if n > maxLevels {
		return seriesName{}, fmt.Errorf("expected at most %d levels, got %d levels below the host", maxLevels, n)
	}
	var levels []string
	for range n {
		if len(rest) == 0 {
			return seriesName{}, errors.New("the record ends before the name of a level")
		}
		var level []byte
		if level, rest, ok = cut(rest[1:], int(rest[0])); !ok {
			return seriesName{}, errors.New("the name of a level does not fit its record")
		}
		levels = append(levels, string(level))
	}
	if len(rest) > 0 {
		return seriesName{}, fmt.Errorf("%d bytes after the names in a record", len(rest))
	}
	d, err := device(levels)
	return seriesName{d, string(metric)}, err
}

func cut(b []byte, n int) (head, tail []byte, ok bool) {
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n], b[n:], true
}

// anchorByLog takes the grid of each series from its first time in the log. Damage in the log is
// reported later, when the log is read.
func (r *reader) anchorByLog(f file) error {
	err := r.withFile(f, func(_ file, in fs.File, size int64) error {
		r.in.Reset(contextReader{r.ctx, in})
		c := &cursor{in: r.in, size: min(size, anchorBytes)}
		_, err := c.records(func(int64, string) {}, func(payload []byte) error {
			t, path, _ := splitPayload(payload)
			if s, err := parsePath(path); err == nil && 0 < t && t <= maxTime {
				if _, ok := r.anchors[s]; !ok {
					r.anchor(s, t)
				}
			}
			return nil
		})
		return err
	})
	_ = err // readFile reads the log again and reports the error
	return r.ctx.Err()
}
