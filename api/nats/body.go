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
	errEncoding = errors.New("Content-Encoding is none of gzip, s2 and identity")
	errPlain    = errors.New("events are not compressed")
)

// encoding is how a body is compressed.
type encoding uint8

const (
	identity encoding = iota
	gzipped
	s2ed // https://github.com/klauspost/compress/tree/master/s2, as a stream
)

// unzippers are the readers that are not in use.
type unzippers struct{ gzip, s2 sync.Pool }

// reader returns one for what data unpacks to, and what takes it back.
func (u *unzippers) reader(e encoding, data []byte) (r io.Reader, release func(), err error) {
	if e == s2ed {
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

// store hands the body to the ingester. With an error comes the reason that it
// is counted under.
func (s *Subscriber) store(src ingest.Source, m *natsgo.Msg) (report ingest.Report, reason string, err error) {
	e, err := encodingOf(values(m.Header, "Content-Encoding"))
	switch {
	case err != nil:
		return report, failedEncoding, err
	case int64(len(m.Data)) > s.o.MaxBody:
		return report, failedTooLarge, errTooLarge
	case e != identity:
		return s.unpack(src, e, m.Data)
	}
	report, err = s.o.Ingester.Batch(s.ctx, src, m.Data)
	return report, failedStore, err
}

func (s *Subscriber) unpack(src ingest.Source, e encoding, data []byte) (ingest.Report, string, error) {
	if len(data) == 0 { // which s2 takes for a stream of nothing
		return ingest.Report{}, failedEncoding, io.ErrUnexpectedEOF
	}
	r, release, err := s.unzippers.reader(e, data)
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

// encodingOf tells how a body is compressed.
func encodingOf(names []string) (encoding, error) {
	var all []encoding
	for _, name := range names {
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "gzip", "x-gzip": // the same to RFC 9110 section 8.4.1.3
			all = append(all, gzipped)
		case "s2":
			all = append(all, s2ed)
		case "", "identity":
			all = append(all, identity)
		default:
			return identity, errEncoding
		}
	}
	if all = slices.Compact(all); len(all) > 1 {
		return identity, errEncoding
	}
	if len(all) == 0 {
		return identity, nil
	}
	return all[0], nil
}

// boundedReader fails with errTooLarge when left, one byte more than may come,
// has been read. It keeps the error that it or r ended with, unless io.EOF.
type boundedReader struct {
	r    io.Reader
	left int64
	err  error
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
