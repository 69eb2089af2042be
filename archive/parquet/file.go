package parquet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
)

// compatibleRow is the schema of a file with the encoding [Compatible]. It is never filled, because
// values are written column by column.
type compatibleRow struct {
	Cluster   string  `parquet:"cluster,dict"`
	Hostname  string  `parquet:"hostname,dict"`
	Metric    string  `parquet:"metric,dict"`
	Scope     string  `parquet:"scope,dict"`
	ScopeID   string  `parquet:"scope_id,dict"`
	Timestamp int64   `parquet:"timestamp,dict"`
	Frequency int64   `parquet:"frequency,dict"`
	Value     float64 `parquet:"value"`
}

// compactRow is the schema of a file with the encoding [Compact].
type compactRow struct {
	Cluster   string  `parquet:"cluster,dict"`
	Hostname  string  `parquet:"hostname,dict"`
	Metric    string  `parquet:"metric,dict"`
	Scope     string  `parquet:"scope,dict"`
	ScopeID   string  `parquet:"scope_id,dict"`
	Timestamp int64   `parquet:"timestamp,delta"`
	Frequency int64   `parquet:"frequency,delta"`
	Value     float64 `parquet:"value"`
}

// A row group is closed when it reaches one of these limits. It is in memory until then; the limit
// in bytes bounds the copies of long names.
const (
	groupRows  = 1 << 20
	groupBytes = 16 << 20
)

// Keys of a file's metadata.
const (
	keyVersion = "ringstore.version"
	keyCluster = "ringstore.cluster"
	keyDay     = "ringstore.day"
	keySource  = "ringstore.source"

	version = "1"
)

// description is the metadata of a file.
type description struct {
	cluster string
	day     Day
	source  string
}

// writeFile writes a Parquet file and returns how many rows it has.
func writeFile(ctx context.Context, out io.Writer, d description, e Encoding, columns iter.Seq2[Column, error]) (rows int64, err error) {
	w := newWriter(out, d, e)
	var prev *Column
	for c, err := range columns {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return rows, err
		}
		if len(c.Times)+len(c.Values) == 0 {
			continue
		}
		if err := c.check(d.day, prev); err != nil {
			return rows, err
		}
		if err := w.append(c); err != nil {
			return rows, err
		}
		rows += int64(len(c.Times))
		prev = &Column{Host: c.Host, Metric: c.Metric, Scope: c.Scope, ScopeID: c.ScopeID, Times: []int64{c.Times[len(c.Times)-1]}}
	}
	if err := ctx.Err(); err != nil {
		return rows, err
	}
	return rows, w.out.Close()
}

// writer writes columns of samples as columns of Parquet, a chunk of rows at a time.
type writer struct {
	out     *pq.GenericWriter[any]
	columns []*pq.ColumnWriter
	cluster string
	rows    int   // in the row group
	flushed int64 // bytes before the row group
	values  []pq.Value
}

// chunk is the maximum number of rows that are passed to the library at a time.
const chunk = 1024

// pageBytes is the size of a page before compression. In larger pages zstd finds the times of one
// series again in the next ones.
const pageBytes = 1 << 20

func newWriter(out io.Writer, d description, e Encoding) *writer {
	options := []pq.WriterOption{
		pq.Compression(&zstd.Codec{Level: zstd.SpeedFastest}),
		pq.SortingWriterConfig(pq.SortingColumns(
			pq.Ascending("cluster"), pq.Ascending("hostname"), pq.Ascending("metric"),
			pq.Ascending("scope"), pq.Ascending("scope_id"), pq.Ascending("timestamp"),
		)),
		pq.KeyValueMetadata(keyVersion, version),
		pq.KeyValueMetadata(keyCluster, d.cluster),
		pq.KeyValueMetadata(keyDay, d.day.String()),
		pq.KeyValueMetadata(keySource, d.source),
	}
	row := pq.SchemaOf(compactRow{})
	if e == Compatible {
		row = pq.SchemaOf(compatibleRow{})
		options = append(options, pq.DataPageVersion(1), pq.PageBufferSize(pageBytes))
	}
	w := pq.NewGenericWriter[any](out, append(options, pq.NewSchema("row", row))...)
	return &writer{out: w, columns: w.ColumnWriters(), cluster: d.cluster, values: make([]pq.Value, chunk)}
}

// append writes a column's rows and closes full row groups.
func (w *writer) append(c Column) error {
	for len(c.Times) > 0 {
		n := min(len(c.Times), chunk, groupRows-w.rows)
		if err := w.appendChunk(c, n); err != nil {
			return err
		}
		c.Times, c.Values = c.Times[n:], c.Values[n:]
		w.rows += n
		if w.rows < groupRows && w.out.Size()-w.flushed < groupBytes {
			continue
		}
		if err := w.out.Flush(); err != nil {
			return err
		}
		w.rows, w.flushed = 0, w.out.Size()
	}
	return nil
}

// appendChunk writes a column's first n rows, one column of the schema after the other.
func (w *writer) appendChunk(c Column, n int) error {
	values := w.values[:n]
	column := 0
	write := func() error {
		_, err := w.columns[column].WriteRowValues(values)
		column++
		return err
	}
	repeat := func(v pq.Value) error {
		for i := range values {
			values[i] = v
		}
		return write()
	}
	for _, s := range [...]string{w.cluster, c.Host, c.Metric, c.Scope, c.ScopeID} {
		if err := repeat(pq.ByteArrayValue([]byte(s))); err != nil {
			return err
		}
	}
	for i := range values {
		values[i] = pq.Int64Value(c.Times[i])
	}
	if err := write(); err != nil {
		return err
	}
	if err := repeat(pq.Int64Value(c.Frequency)); err != nil {
		return err
	}
	for i := range values {
		values[i] = pq.DoubleValue(c.Values[i])
	}
	return write()
}

// A Parquet file consists of the magic, row groups, the footer, the footer's length in 4 bytes, and
// the magic again.
const (
	magic      = "PAR1"
	maxFooter  = 64 << 20 // bytes; a row group takes about 2000
	tailLength = 8
)

var errNotParquet = errors.New("not a Parquet file, or damaged")

// readSource returns a file's number of rows and its source; "" if it names none.
func readSource(r io.ReaderAt, size int64) (rows int64, source string, err error) {
	var tail [tailLength]byte
	if size < tailLength+int64(len(magic)) {
		return 0, "", fmt.Errorf("%w: expected at least %d bytes, got %d", errNotParquet, tailLength+len(magic), size)
	}
	if n, err := r.ReadAt(tail[:], size-tailLength); n < tailLength {
		return 0, "", err
	}
	footer := int64(binary.LittleEndian.Uint32(tail[:]))
	if string(tail[4:]) != magic || footer > min(size-tailLength, maxFooter) {
		return 0, "", fmt.Errorf("%w: expected the length of a footer and %q at its end, got %q", errNotParquet, magic, tail)
	}
	content := make([]byte, footer)
	if n, err := r.ReadAt(content, size-tailLength-footer); n < len(content) {
		return 0, "", err
	}
	// The library allocates as many items as a list claims to have. The first pass decodes the list
	// without memory for items, and fails if they are not there.
	var claims struct {
		Metadata []struct{} `thrift:"5"`
	}
	var meta struct {
		Rows     int64 `thrift:"3,required"`
		Metadata []struct {
			Key   string `thrift:"1,required"`
			Value string `thrift:"2"`
		} `thrift:"5"`
	}
	for _, v := range [...]any{&claims, &meta} {
		if err := thrift.Unmarshal(new(thrift.CompactProtocol), content, v); err != nil {
			return 0, "", fmt.Errorf("%w: footer: %w", errNotParquet, err)
		}
	}
	for _, m := range meta.Metadata {
		if m.Key == keySource {
			source = m.Value
		}
	}
	return meta.Rows, source, nil
}
