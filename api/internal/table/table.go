// Package table writes values as a table, one row per value, in the formats that notebooks read:
// CSV and Parquet. It streams: a CSV takes a fixed amount of memory, and a Parquet file that of one
// group of rows and of the footer, which has a short entry for each group.
package table

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/ringstore/ringstore/api/internal/truncate"
)

// Format is the format of an answer.
type Format int

const (
	JSON Format = iota // no table
	CSV
	Parquet
)

const (
	contentCSV     = "text/csv"
	contentParquet = "application/vnd.apache.parquet"
)

// ContentType returns the media type of a table.
func (f Format) ContentType() string {
	if f == Parquet {
		return contentParquet
	}
	return contentCSV + "; charset=utf-8; header=present"
}

// Requested returns the format that a request asks for: the parameter format if it is not empty,
// else what the header Accept prefers of the three. JSON is the answer to everything else.
func Requested(parameter string, header http.Header) (Format, error) {
	switch parameter {
	case "":
		return accepted(header), nil
	case "json":
		return JSON, nil
	case "csv":
		return CSV, nil
	case "parquet":
		return Parquet, nil
	}
	return JSON, fmt.Errorf(`expected "json", "csv" or "parquet"; got %q`, truncate.Text(parameter, 100))
}

func accepted(header http.Header) Format {
	best, quality := JSON, 0.0
	for _, value := range header.Values("Accept") {
		for entry := range strings.SplitSeq(value, ",") {
			kind, parameters, err := mime.ParseMediaType(entry)
			if err != nil {
				continue
			}
			q, err := strconv.ParseFloat(cmp.Or(parameters["q"], "1"), 64)
			if err != nil || !(q > quality) { // the first of equals
				continue
			}
			switch kind {
			case contentCSV:
				best, quality = CSV, q
			case contentParquet:
				best, quality = Parquet, q
			case "application/json", "application/*", "*/*":
				best, quality = JSON, q
			}
		}
	}
	return best
}

// Series names what the values of some rows belong to. Unknown parts are empty.
type Series struct {
	Cluster, Hostname, Type, TypeID, SType, STypeID, Metric string
}

// row is a row of a Parquet file.
type row struct {
	Cluster   string  `parquet:"cluster,dict"`
	Hostname  string  `parquet:"hostname,dict"`
	Type      string  `parquet:"type,dict"`
	TypeID    string  `parquet:"type_id,dict"`
	SType     string  `parquet:"stype,dict"`
	STypeID   string  `parquet:"stype_id,dict"`
	Metric    string  `parquet:"metric,dict"`
	Timestamp int64   `parquet:"timestamp,timestamp(millisecond),delta"`
	Value     float64 `parquet:"value"`
}

// Writer writes a table. Close must be called.
type Writer struct {
	out     *bufio.Writer
	csv     *csv.Writer
	fields  []string
	parquet *parquet.GenericWriter[row]
	rows    []row
}

// columns are the names of the columns of a CSV, as those of a row.
var columns = [...]string{"cluster", "hostname", "type", "type_id", "stype", "stype_id", "metric", "timestamp", "value"}

const (
	bufferBytes = 64 << 10
	rowsAtOnce  = 256
	rowsInGroup = 32 << 10 // of a Parquet file: what a writer holds
)

// NewWriter returns a writer of a table in a format that is not JSON.
func NewWriter(w io.Writer, f Format) (*Writer, error) {
	out := bufio.NewWriterSize(w, bufferBytes)
	if f == Parquet {
		p := parquet.NewGenericWriter[row](out, parquet.MaxRowsPerRowGroup(rowsInGroup),
			parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.DataPageStatistics(false))
		return &Writer{out: out, parquet: p, rows: make([]row, 0, rowsAtOnce)}, nil
	}
	c := csv.NewWriter(out)
	return &Writer{out: out, csv: c, fields: make([]string, len(columns))}, c.Write(columns[:])
}

// Add adds a row. The time is in milliseconds.
func (w *Writer) Add(s *Series, millis int64, value float64) error {
	if w.parquet != nil {
		w.rows = append(w.rows, row{s.Cluster, s.Hostname, s.Type, s.TypeID, s.SType, s.STypeID, s.Metric, millis, value})
		if len(w.rows) < rowsAtOnce {
			return nil
		}
		return w.flush()
	}
	w.fields = append(w.fields[:0], s.Cluster, s.Hostname, s.Type, s.TypeID, s.SType, s.STypeID, s.Metric,
		time.UnixMilli(millis).UTC().Format("2006-01-02T15:04:05.999Z"), strconv.FormatFloat(value, 'g', -1, 64))
	return w.csv.Write(w.fields)
}

func (w *Writer) flush() error {
	_, err := w.parquet.Write(w.rows)
	clear(w.rows)
	w.rows = slices.Delete(w.rows, 0, len(w.rows))
	return err
}

// Close writes what is left. It does not close the writer below.
func (w *Writer) Close() error {
	if w.parquet != nil {
		if err := w.flush(); err != nil {
			return err
		}
		if err := w.parquet.Close(); err != nil {
			return err
		}
		return w.out.Flush()
	}
	w.csv.Flush()
	if err := w.csv.Error(); err != nil {
		return err
	}
	return w.out.Flush()
}
