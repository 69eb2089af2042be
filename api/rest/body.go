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

// body is a request's body, decompressed, of at most limit bytes both before
// and after that. Its errors are failures: to be answered as they are.
type body struct {
	raw    rawBody
	in     io.Reader // raw, or what decompresses it
	gunzip *gzip.Reader
	limit  int64
	left   int64
	h      *Handler
}

// rawBody is the body as it comes, and remembers how it failed.
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

// open returns the body of a request. It has to be closed.
func (h *Handler) open(w http.ResponseWriter, r *http.Request, limit int64) (*body, error) {
	if r.ContentLength > limit {
		w.Header().Set("Connection", "close") // rather than read what nobody wants
		return nil, tooLarge(limit)
	}
	b := &body{limit: limit, left: limit, h: h}
	b.raw.Reader = http.MaxBytesReader(exchangeOf(w).ResponseWriter, r.Body, limit)
	b.in = &b.raw
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
		return nil, &failure{status: http.StatusUnsupportedMediaType, public: "Content-Encoding: only gzip is understood"}
	}
	return b, nil
}

// Close gives back what the body was read with.
func (b *body) Close() {
	if b.gunzip != nil {
		b.h.gunzips.Put(b.gunzip)
		b.gunzip = nil
	}
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.in.Read(p)
	if int64(n) > b.left {
		n, err = int(b.left), tooLarge(b.limit)
	}
	b.left -= int64(n)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.failure(err)
	}
	return n, err
}

// failure tells what came too much from what came broken.
func (b *body) failure(err error) error {
	if f, ok := errors.AsType[*failure](err); ok {
		return f
	}
	if _, ok := errors.AsType[*http.MaxBytesError](b.raw.err); ok {
		return tooLarge(b.limit)
	}
	if b.raw.err != nil && !errors.Is(b.raw.err, io.EOF) {
		return unreadable(b.raw.err)
	}
	return badRequest("the body is not gzip, or damaged")
}

// jsonBytes bounds bodies that are JSON: questions, not data.
const jsonBytes = 8 << 20

// decodeBody reads a request's body, one JSON value of at most jsonBytes, into
// v. strict refuses members that v does not have. The error is io.EOF for an
// empty body, and else a failure.
func (h *Handler) decodeBody(w http.ResponseWriter, r *http.Request, v any, strict bool) error {
	b, err := h.open(w, r, min(jsonBytes, h.Limits.BodyBytes))
	if err != nil {
		return err
	}
	defer b.Close()
	d := json.NewDecoder(b)
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
	return badRequest("the body goes on after its JSON value")
}

// jsonFailure words an error of encoding/json. where is the path of the value
// that was decoded, empty for the body.
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
		return badRequest("%s: %s is wanted, not %s", where, typeName(e.Type), e.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return badRequest("unknown member %s", name)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return badRequest("the body is not JSON: byte %d: %s", e.Offset, e.Error())
	}
	return badRequest("the body is not JSON: it ends too early")
}

// typeName words the types that requests are made of.
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
