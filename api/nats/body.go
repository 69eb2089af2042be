package nats

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	natsgo "github.com/nats-io/nats.go"

	"github.com/ringstore/ringstore/api/ingest"
)

// Errors of a message's body.
var (
	errTooLarge = errors.New("the body is larger than the limit")
	errEncoding = errors.New("Content-Encoding: expected gzip, s2 or identity")
	errPlain    = errors.New("events must not be compressed")
)

// encoding is how a body is compressed.
type encoding uint8

const (
	identityEncoding encoding = iota
	gzipEncoding
	s2Encoding // https://github.com/klauspost/compress/tree/master/s2, as a stream
)

// decompressors are pools of readers.
type decompressors struct{ gzip, s2 sync.Pool }

// reader returns a reader of the decompressed data, and a function that returns it to its pool.
func (u *decompressors) reader(e encoding, data []byte) (r io.Reader, release func(), err error) {
	if e == s2Encoding {
		z, _ := u.s2.Get().(*s2.Reader)
		if z == nil {
			z = s2.NewReader(nil, s2.ReaderMaxBlockSize(1<<20))
		}
		z.Reset(bytes.NewReader(data))
		return z, func() { z.Reset(nil); u.s2.Put(z) }, nil
	}
	z, _ := u.gzip.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	return z, func() { u.gzip.Put(z) }, z.Reset(bytes.NewReader(data))
}

// store passes the body to the ingester. With an error it returns the label that the error is
// counted under.
func (s *Subscriber) store(src ingest.Source, m *natsgo.Msg) (report ingest.Report, reason string, err error) {
	e, err := encodingOf(values(m.Header, "Content-Encoding"))
	switch {
	case err != nil:
		return report, failedEncoding, err
	case int64(len(m.Data)) > s.o.MaxBody:
		return report, failedTooLarge, errTooLarge
	case e != identityEncoding:
		return s.decompress(src, e, m.Data)
	}
	report, err = s.o.Ingester.Batch(s.ctx, src, m.Data)
	return report, failedStore, err
}

func (s *Subscriber) decompress(src ingest.Source, e encoding, data []byte) (ingest.Report, string, error) {
	if len(data) == 0 { // to s2 an empty stream, but no encoder writes that
		return ingest.Report{}, failedEncoding, io.ErrUnexpectedEOF
	}
	r, release, err := s.decompressors.reader(e, data)
	defer release()
	if err != nil {
		return ingest.Report{}, failedEncoding, err
	}
	body := &boundedReader{r: r, left: s.o.MaxBody + 1}
	report, err := s.o.Ingester.Stream(s.ctx, src, body)
	switch {
	case body.err == nil:
		return report, failedStore, err
	case errors.Is(body.err, errTooLarge):
		return report, failedTooLarge, err
	default:
		return report, failedEncoding, err
	}
}

// encodingOf returns how a body is compressed, from the values of Content-Encoding.
func encodingOf(names []string) (encoding, error) {
	var all []encoding
	for _, name := range names {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip": // equivalent by RFC 9110 section 8.4.1.3
			all = append(all, gzipEncoding)
		case "s2":
			all = append(all, s2Encoding)
		case "", "identity":
			all = append(all, identityEncoding)
		default:
			return identityEncoding, errEncoding
		}
	}
	if all = slices.Compact(all); len(all) > 1 {
		return identityEncoding, errEncoding
	}
	if len(all) == 0 {
		return identityEncoding, nil
	}
	return all[0], nil
}

// boundedReader fails with errTooLarge when it has read left bytes, one more than allowed.
type boundedReader struct {
	r    io.Reader
	left int64
	err  error // of the last Read, unless io.EOF
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	if b.left == 0 {
		err = errTooLarge
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}
