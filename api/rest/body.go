package rest

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// body is a request's body after decompression. The limit holds for the bytes before and after
// decompression. All its errors are failures, ready to be answered.
type body struct {
	raw    rawBody
	in     io.Reader // raw, or gunzip
	gunzip *gzip.Reader
	limit  int64
	left   int64
	h      *Handler
}

// rawBody reads the body as sent and keeps its read error.
type rawBody struct {
	io.Reader
	err error
}

func (b *rawBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil {
		b.err = err
	}
	return n, err
}

// open returns the body of a request. The caller closes it.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	b, err := h.openRaw(w, r, limit)
	if err != nil {
		return nil, err
	}
	switch encoding := strings.ToLower(strings.TrimSpace(strings.Join(r.Header.Values("Content-Encoding"), ","))); encoding {
	case "", "identity":
	case "gzip", "x-gzip": // RFC 9110, section 8.4.1.3
		b.gunzip = h.gunzips.Get().(*gzip.Reader)
		if err := b.gunzip.Reset(&b.raw); err != nil {
			err = b.failure(err)
			b.Close()
			return nil, err
		}
		b.in = b.gunzip
	default:
		w.Header().Set("Accept-Encoding", "gzip")
		return nil, &failure{status: http.StatusUnsupportedMediaType, public: "Content-Encoding: expected gzip or none"}
	}
	return b, nil
}

// openRaw returns the body of a request as it was sent. It need not be closed.
func (h *Handler) openRaw(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // instead of reading an unwanted body
		return nil, h.tooLarge(limit)
	}
	b := &body{limit: limit, left: limit, h: h}
	b.raw.Reader = http.MaxBytesReader(exchangeOf(w).ResponseWriter, r.Body, limit)
	b.in = &b.raw
	return b, nil
}

// Close returns the gzip reader to its pool.
func (b *body) Close() {
	if b.gunzip != nil {
		b.h.gunzips.Put(b.gunzip)
		b.gunzip = nil
	}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), b.h.tooLarge(b.limit)
	}
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.failure(err)
	}
	return n, err
}

// failure classifies a read error: body too large, transfer broken or gzip damaged.
func (b *body) failure(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if _, ok := errors.AsType[*http.MaxBytesError](b.raw.err); ok {
		return b.h.tooLarge(b.limit)
	}
	if b.raw.err != nil && !errors.Is(b.raw.err, io.EOF) {
		return unreadable(b.raw.err)
	}
	return badRequest("the body is not gzip, or damaged")
}

// jsonBytes is the limit of JSON bodies, which hold requests and no samples.
const jsonBytes = 8 << 20

// decodeBody reads the body of a request, one JSON value of at most jsonBytes, into v. With strict,
// members that v does not have are an error. The bytes are copied to tee unless it is nil. The error
// is io.EOF for an empty body and a failure otherwise.
func (h *Handler) decodeBody(w http.ResponseWriter, r *http.Request, v any, strict bool, tee io.Writer) error {
	b, err := h.open(w, r, min(jsonBytes, h.Limits.BodyBytes))
	if err != nil {
		return err
	}
	defer b.Close()
	var in io.Reader = b
	if tee != nil {
		in = io.TeeReader(b, tee)
	}
	d := json.NewDecoder(in)
	if strict {
		d.DisallowUnknownFields()
	}
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return jsonFailure("", err)
	}
	_, err = d.Token()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	return badRequest("the body: expected one JSON value; got more data after it")
}

// jsonFailure turns an error of encoding/json into a failure. where is the path of the decoded
// value within the body; it is empty for the whole body.
func jsonFailure(where string, err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field != "" {
			where = strings.TrimPrefix(where+"."+e.Field, ".")
		}
		if where == "" {
			where = "the body"
		}
		return badRequest("%s: expected %s; got %s", where, typeName(e.Type), e.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badRequest("unknown member %s", name)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return badRequest("the body is not JSON: byte %d: %s", e.Offset, e.Error())
	}
	return badRequest("the body is not JSON: unexpected end")
}

// typeName names the types that occur in requests.
func typeName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Int64:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		return "an object"
	default:
		return "something else"
	}
}
