package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/snappy"

	"github.com/ringstore/ringstore/api/ingest"
)

// Remote write takes samples that a Prometheus or an agent sends
// (https://prometheus.io/docs/specs/prw/remote_write_spec/ and .../remote_write_spec_2_0/).

// WritePath is the path of remote write.
const WritePath = "/api/v1/write"

const (
	maxWriteMessage  = 64 << 20  // bytes of a message, compressed and decompressed
	maxWritesAtOnce  = 256 << 20 // bytes of all messages that are being read
	firstWriteBuffer = 64 << 10
	maxPooledBuffer  = 1 << 20
	// maxExpansion is how many bytes a byte of Snappy's block format can stand for: a copy takes at
	// least three bytes and yields at most 64.
	maxExpansion = 22
)

// Ingester stores the samples of a message; [ingest.Ingester] implements it.
type Ingester interface {
	Points(ctx context.Context, src ingest.Source, points ingest.Points, size int) (ingest.Report, error)
}

// Submission is a request of remote write whose sender may write.
type Submission struct {
	Body     io.Reader // as sent; its errors are returned as they are
	MaxBytes int64     // of the message, if less than 64 MiB
	Source   ingest.Source
	Ingester Ingester
}

// writeBuffers are the memory of one submission.
type writeBuffers struct{ compressed, message []byte }

// writes bounds what submissions hold in memory together.
type writes struct {
	bytes   atomic.Int64
	buffers sync.Pool // of *writeBuffers
}

// Write stores the samples of a message and answers 204. The error is an *[Error], that of the body,
// or that of the Ingester; then the report says what was stored.
func (a *API) Write(w http.ResponseWriter, r *http.Request, s Submission) (ingest.Report, error) {
	version, err := messageVersion(r.Header)
	if err != nil {
		return ingest.Report{}, err
	}
	limit := int64(maxWriteMessage)
	if s.MaxBytes > 0 {
		limit = min(limit, s.MaxBytes)
	}
	loan := loan{of: &a.writes}
	defer loan.giveBack()
	buffers := a.writes.take()
	defer a.writes.put(buffers)
	m := &writeMessage{version: version}
	if m.bytes, err = loan.message(buffers, s.Body, limit); err != nil {
		return ingest.Report{}, err
	}
	if n := m.symbolCount(); n > 0 {
		if err := loan.take(4 * int64(n)); err != nil {
			return ingest.Report{}, err
		}
		m.symbols = make([]uint32, 0, n)
	}
	if err := m.check(); err != nil {
		return ingest.Report{}, badData("the body is not a message of remote write %d.0: %v", version, err)
	}
	if s.Source.Cluster == "" {
		s.Source.Cluster = a.o.WriteCluster
	}
	reader := newSeriesReader(m, a.o.WriteDevices)
	report, err := s.Ingester.Points(r.Context(), s.Source, reader, len(m.bytes))
	stored := m.samples - report.RejectedTotal
	if err != nil {
		stored = report.Accepted
	}
	if version == 2 {
		writtenHeaders(w.Header(), stored)
	}
	switch {
	case err != nil:
		return report, err
	case report.RejectedTotal > 0:
		return report, partialWrite(report, stored)
	}
	w.WriteHeader(http.StatusNoContent)
	return report, nil
}

// messageVersion returns the version of the message that the headers announce.
func messageVersion(h http.Header) (int, error) {
	unsupported := func(format string, args ...any) error {
		return &Error{Status: http.StatusUnsupportedMediaType, Type: "bad_data", Public: fmt.Sprintf(format, args...)}
	}
	if encoding := strings.Join(h.Values("Content-Encoding"), ","); encoding != "" && !strings.EqualFold(encoding, "snappy") {
		return 0, unsupported("Content-Encoding: expected snappy, got %q", clip(encoding))
	}
	content := h.Get("Content-Type")
	kind, parameters, err := mime.ParseMediaType(content)
	if content == "" {
		kind, err = "application/x-protobuf", nil
	}
	if err == nil && kind == "application/x-protobuf" {
		switch parameters["proto"] {
		case "", "prometheus.WriteRequest":
			return 1, nil
		case "io.prometheus.write.v2.Request":
			return 2, nil
		}
	}
	return 0, unsupported("Content-Type: expected application/x-protobuf, alone or with proto=prometheus.WriteRequest or "+
		"proto=io.prometheus.write.v2.Request, got %q", clip(content))
}

// writtenHeaders tells a sender of version 2 how much is stored. Samples that are left out on purpose
// count as well: a sender takes an answer without any for that of a server that knows only version 1.
func writtenHeaders(h http.Header, samples int) {
	const prefix = "X-Prometheus-Remote-Write-"
	h.Set(prefix+"Samples-Written", strconv.Itoa(samples))
	h.Set(prefix+"Histograms-Written", "0")
	h.Set(prefix+"Exemplars-Written", "0")
}

// partialWrite says what was refused. Senders log its first line and do not send the message again.
func partialWrite(report ingest.Report, stored int) *Error {
	const listed = 5
	var text strings.Builder
	fmt.Fprintf(&text, "%d samples rejected, %d stored", report.RejectedTotal, stored)
	told := make(map[string]bool)
	for _, r := range report.Rejected {
		if told[r.Reason] {
			continue
		}
		if told[r.Reason] = true; len(told) > listed {
			text.WriteString("; and other reasons")
			break
		}
		fmt.Fprintf(&text, "; sample %d: %s", r.Line, r.Reason)
	}
	return badData("%s", text.String())
}

// loan is the memory of one submission, in bytes.
type loan struct {
	of    *writes
	taken int64
}

// take borrows n more bytes.
func (l *loan) take(n int64) error {
	if l.of.bytes.Add(n) > maxWritesAtOnce {
		l.of.bytes.Add(-n)
		return &Error{Status: http.StatusServiceUnavailable, Type: "unavailable", Public: "too much is being written at once; try again later"}
	}
	l.taken += n
	return nil
}

func (l *loan) giveBack() { l.of.bytes.Add(-l.taken) }

// message reads and decompresses a body. The result is in the buffers.
func (l *loan) message(b *writeBuffers, body io.Reader, limit int64) ([]byte, error) {
	tooLarge := &Error{
		Status: http.StatusRequestEntityTooLarge, Type: "bad_data",
		Public: fmt.Sprintf("the message is larger than %d bytes: send fewer samples at once", limit),
	}
	if err := l.read(b, body, limit, tooLarge); err != nil {
		return nil, err
	}
	size, err := snappy.DecodedLen(b.compressed)
	switch {
	case err != nil:
		return nil, badData("the body is not in Snappy's block format: %v", err)
	case int64(size) > limit:
		return nil, tooLarge
	case int64(size) > maxExpansion*int64(len(b.compressed)):
		return nil, badData("the body is not in Snappy's block format: it is too short for its message")
	}
	if err := l.take(int64(size)); err != nil {
		return nil, err
	}
	if cap(b.message) < size {
		b.message = make([]byte, size)
	}
	message, err := snappy.Decode(b.message[:size], b.compressed)
	if err != nil {
		return nil, badData("the body is not in Snappy's block format: %v", err)
	}
	return message, nil
}

// read reads a body into b.compressed, which grows with what has arrived.
func (l *loan) read(b *writeBuffers, body io.Reader, limit int64, tooLarge error) error {
	if cap(b.compressed) == 0 {
		b.compressed = make([]byte, 0, firstWriteBuffer)
	}
	if err := l.take(int64(cap(b.compressed))); err != nil {
		return err
	}
	b.compressed = b.compressed[:0]
	for {
		n, err := body.Read(b.compressed[len(b.compressed):cap(b.compressed)])
		b.compressed = b.compressed[:len(b.compressed)+n]
		switch {
		case int64(len(b.compressed)) > limit:
			return tooLarge
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if size := len(b.compressed); size == cap(b.compressed) {
			if err := l.take(int64(size)); err != nil {
				return err
			}
			b.compressed = append(make([]byte, 0, 2*size), b.compressed...)
		}
	}
}

func (w *writes) take() *writeBuffers {
	if b, ok := w.buffers.Get().(*writeBuffers); ok {
		return b
	}
	return new(writeBuffers)
}

// put keeps buffers of the usual size for another submission.
func (w *writes) put(b *writeBuffers) {
	if cap(b.compressed) <= maxPooledBuffer && cap(b.message) <= maxPooledBuffer {
		w.buffers.Put(b)
	}
}
