package parquet_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
)

const secret = "kept-secret-of-the-test"

// server is an S3 server with a bucket "metrics", and a client of its own to inspect it.
type server struct {
	t      *testing.T
	client *minio.Client
	deny   atomic.Pointer[func(*http.Request) bool] // requests to be refused
}

// startS3 starts a server and sets the environment variables for it.
func startS3(t *testing.T) *server {
	t.Helper()
	backend := s3mem.New()
	if err := backend.CreateBucket("metrics"); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t}
	fake := gofakes3.New(backend).Server()
	web := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if deny := s.deny.Load(); deny != nil && (*deny)(r) {
			http.Error(w, `<Error><Code>AccessDenied</Code></Error>`, http.StatusForbidden)
			return
		}
		fake.ServeHTTP(w, r)
	}))
	t.Cleanup(web.Close)
	// Without TLS minio sends signed chunks, which gofakes3 does not support.
	certificate := filepath.Join(t.TempDir(), "cert.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(certificate, block, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", certificate)
	t.Setenv("AWS_ENDPOINT_URL_S3", web.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_REGION", "eu-central-1")
	var err error
	s.client, err = minio.New(strings.TrimPrefix(web.URL, "https://"), &minio.Options{
		Creds: credentials.NewStaticV4("test", secret, ""), Transport: web.Client().Transport, Secure: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// denying makes the server refuse requests.
func (s *server) denying(f func(*http.Request) bool) { s.deny.Store(&f) }

func (s *server) keys(prefix string) []string {
	var keys []string
	for o := range s.client.ListObjectsIter(context.Background(), "metrics", minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if o.Err != nil {
			s.t.Fatal(o.Err)
		}
		keys = append(keys, strings.TrimPrefix(o.Key, prefix))
	}
	return keys
}

// uploads returns the keys of multipart uploads that are neither complete nor aborted.
func (s *server) uploads() []string {
	var keys []string
	for u := range s.client.ListIncompleteUploads(context.Background(), "metrics", "", true) {
		switch {
		case minio.ToErrorResponse(u.Err).Code == minio.NoSuchUpload: // of a bucket that never had one
		case u.Err != nil:
			s.t.Fatal(u.Err)
		default:
			keys = append(keys, u.Key)
		}
	}
	return keys
}

func (s *server) rows(key string) []row {
	content := s.get(key)
	return readRows(s.t, bytes.NewReader(content), int64(len(content)))
}

func (s *server) get(key string) []byte {
	o, err := s.client.GetObject(context.Background(), "metrics", key, minio.GetObjectOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer o.Close()
	content, err := io.ReadAll(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return content
}

func (s *server) put(key string, content []byte) {
	_, err := s.client.PutObject(context.Background(), "metrics", key, bytes.NewReader(content), int64(len(content)), minio.PutObjectOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
}

// large yields rows whose values do not compress, so that they take more than one part of an
// upload.
func large(rows int) iter.Seq2[parquet.Column, error] {
	return func(yield func(parquet.Column, error) bool) {
		rng := rand.New(rand.NewPCG(1, 2))
		c := samples("a", "m", make([]float64, 1440)...)
		for range rows / len(c.Values) {
			c.Host += "a"
			for i := range c.Values {
				c.Values[i] = rng.Float64()
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

// twoParts is a number of rows that is sent in two parts: a row group and a few more.
const twoParts = 1_060_000

// An aborted upload leaves nothing, whatever the cause, and can be repeated.
func TestBrokenUpload(t *testing.T) {
	f := func(name string, columns func(*server, context.CancelFunc) iter.Seq2[parquet.Column, error], left int) {
		t.Run(name, func(t *testing.T) {
			s := startS3(t)
			a := open(t, nil, "s3://metrics")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			_, err := a.Write(ctx, "fritz", day, "x", columns(s, cancel))
			if err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v", err)
			}
			s.deny.Store(nil)
			if got := s.keys(""); len(got) > 0 {
				t.Errorf("there are %q", got)
			}
			if got := s.uploads(); len(got) != left {
				t.Errorf("uploads left: %q", got)
			}
			if err := a.Clean(t.Context(), "fritz"); err != nil {
				t.Error(err)
			}
			if got := s.uploads(); len(got) > 0 {
				t.Errorf("after cleaning there are the uploads %q", got)
			}
			write(t, a, "fritz", "x", samples("a", "m", 1))
			sameRows(t, s.rows("fritz/2023-11-14.parquet"), rowsOf("fritz", samples("a", "m", 1)))
		})
	}
	isPart := func(number string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.URL.Query().Get("partNumber") == number }
	}
	f("the source is damaged", func(*server, context.CancelFunc) iter.Seq2[parquet.Column, error] {
		return failing(sequence(samples("a", "m", 1)), errors.New("block 7 is damaged"))
	}, 0)
	f("the source ends too early", func(*server, context.CancelFunc) iter.Seq2[parquet.Column, error] {
		return failing(large(twoParts), io.ErrUnexpectedEOF)
	}, 0)
	f("the source ends at once", func(*server, context.CancelFunc) iter.Seq2[parquet.Column, error] {
		return failing(sequence(), io.EOF)
	}, 0)
	f("cancelled", func(_ *server, cancel context.CancelFunc) iter.Seq2[parquet.Column, error] {
		return func(yield func(parquet.Column, error) bool) {
			large(twoParts)(yield)
			cancel()
			yield(samples("b", "m", 1), nil)
		}
	}, 0)
	f("the server accepts only one part", func(s *server, _ context.CancelFunc) iter.Seq2[parquet.Column, error] {
		s.denying(isPart("2"))
		return large(twoParts)
	}, 0)
	f("the server does not complete it", func(s *server, _ context.CancelFunc) iter.Seq2[parquet.Column, error] {
		s.denying(func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") })
		return sequence(samples("a", "m", 1))
	}, 0)
	f("nor aborts it", func(s *server, _ context.CancelFunc) iter.Seq2[parquet.Column, error] {
		s.denying(func(r *http.Request) bool { return isPart("1")(r) || r.Method == http.MethodDelete })
		return sequence(samples("a", "m", 1))
	}, 1)
}

// An object is byte for byte the file that a directory would hold.
func TestLargeUpload(t *testing.T) {
	s := startS3(t)
	dir := t.TempDir()
	var rows int64
	for _, location := range []string{dir, "s3://metrics/p"} {
		f, err := open(t, disk.OS{}, location).Write(t.Context(), "fritz", day, "x", large(twoParts))
		if err != nil {
			t.Fatal(err)
		}
		rows = f.Rows
	}
	want, err := os.ReadFile(filepath.Join(dir, "fritz/2023-11-14.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if got := s.get("p/fritz/2023-11-14.parquet"); rows != twoParts/1440*1440 || !bytes.Equal(got, want) {
		t.Errorf("%d rows in %d bytes, want %d", rows, len(got), len(want))
	}
}

func TestCleanWithoutAnUpload(t *testing.T) {
	startS3(t)
	if err := open(t, nil, "s3://metrics").Clean(t.Context(), "fritz"); err != nil {
		t.Error(err)
	}
}

// Clean leaves the uploads of other programs alone.
func TestCleanKeepsOtherUploads(t *testing.T) {
	s := startS3(t)
	core := minio.Core{Client: s.client}
	for _, key := range []string{
		"p/fritz/2023-11-14.parquet", "p/fritz/2023-11-14-2.parquet",
		"p/fritz/other.parquet", "p/fritz/sub/2023-11-14.parquet", "p/alex/2023-11-14.parquet", "p/fritz2/2023-11-14.parquet", "fritz/2023-11-14.parquet",
	} {
		if _, err := core.NewMultipartUpload(t.Context(), "metrics", key, minio.PutObjectOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, nil, "s3://metrics/p").Clean(t.Context(), "fritz"); err != nil {
		t.Fatal(err)
	}
	want := []string{"fritz/2023-11-14.parquet", "p/alex/2023-11-14.parquet", "p/fritz/other.parquet", "p/fritz/sub/2023-11-14.parquet", "p/fritz2/2023-11-14.parquet"}
	if got := s.uploads(); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("left are %q", got)
	}
}

func TestServerRefuses(t *testing.T) {
	s := startS3(t)
	a := open(t, nil, "s3://metrics")
	s.denying(func(*http.Request) bool { return true })
	_, errWrite := a.Write(t.Context(), "fritz", day, "x", sequence(samples("a", "m", 1)))
	_, errHas := a.Has(t.Context(), "fritz", day, "x")
	for _, err := range []error{errWrite, errHas, a.Clean(t.Context(), "fritz")} {
		if err == nil || minio.ToErrorResponse(errors.Unwrap(err)).Code != "AccessDenied" || strings.Contains(err.Error(), secret) {
			t.Errorf("got %v", err)
		}
	}
}

func TestLocations(t *testing.T) {
	f := func(location, endpoint, want string) {
		t.Helper()
		t.Setenv("AWS_ENDPOINT_URL_S3", endpoint)
		a, err := parquet.Open(nil, location, parquet.Compatible)
		switch {
		case want == "" && err != nil:
			t.Errorf("%q at %q: %v", location, endpoint, err)
		case want == "":
			_ = a.Close()
		case err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret):
			t.Errorf("%q at %q: got %v, want %q", location, endpoint, err, want)
		}
	}
	f("", "", "expected a directory")
	f("s3://", "", "archive in S3: the bucket's name: ")
	f("s3:///x", "", "the bucket's name: ")
	f("s3://Metrics", "", "the bucket's name: ")
	f("s3://key:"+secret+"@metrics/x", "", "the bucket's name: ")
	f("s3://metrics//x", "", `expected a prefix without empty, "." or ".." elements`)
	f("s3://metrics/x//", "", `expected a prefix without empty, "." or ".." elements`)
	f("s3://metrics/x/../y", "", `expected a prefix without empty, "." or ".." elements`)
	f("s3://metrics/.", "", `expected a prefix without empty, "." or ".." elements`)
	f("s3://metrics", "ftp://localhost", "AWS_ENDPOINT_URL_S3: expected")
	f("s3://metrics", "localhost:9000", "AWS_ENDPOINT_URL_S3: expected")
	f("s3://metrics", "http://", "AWS_ENDPOINT_URL_S3: expected")
	f("s3://metrics", "http://localhost/path", "AWS_ENDPOINT_URL_S3: expected")
	f("s3://metrics", "http://key:"+secret+"@localhost", "AWS_ENDPOINT_URL_S3: expected")
	f("s3://metrics", "http://key:"+secret+"@local host", "AWS_ENDPOINT_URL_S3: expected")
	f("s3://metrics", "http://localhost:9000/", "")
	f("s3://metrics", "https://s3.example.org", "")
	f("s3://metrics", "", "")
	f("s3://metrics/a/b/", "", "")
	f("s3:/metrics", "", "") // a directory
}

func TestOtherEndpointVariable(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	t.Setenv("AWS_ENDPOINT_URL", "x")
	if _, err := parquet.Open(nil, "s3://metrics", parquet.Compatible); err == nil || !strings.Contains(err.Error(), "AWS_ENDPOINT_URL: expected") {
		t.Errorf("got %v", err)
	}
}
