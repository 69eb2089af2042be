package parquet

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
)

const (
	s3Scheme   = "s3://"
	amazon     = "https://s3.amazonaws.com"
	partBytes  = 8 << 20 // in memory; S3 allows 10000 parts, so 78 GiB per file
	mediaType  = "application/vnd.apache.parquet"
	writeBytes = 64 << 10
)

// bucket is a destination in S3.
type bucket struct {
	client    *minio.Client
	transport *http.Transport
	name      string
	prefix    string // "" or ends in a slash
}

// openBucket opens "bucket" or "bucket/prefix". Its errors do not repeat the location, which may
// contain credentials by mistake.
func openBucket(location string) (*bucket, error) {
	name, prefix, _ := strings.Cut(location, "/")
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix != "" {
		if path.Clean("/"+prefix) != "/"+prefix {
			return nil, errors.New(`expected a prefix without empty, "." or ".." elements`)
		}
		prefix += "/"
	}
	if err := s3utils.CheckValidBucketNameStrict(name); err != nil {
		return nil, fmt.Errorf("the bucket's name: %w", err)
	}
	host, secure, err := endpoint()
	if err != nil {
		return nil, err
	}
	transport, err := minio.DefaultTransport(secure)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(host, &minio.Options{
		Creds: credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{},
			&credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Transport: transport}},
		}),
		Secure:    secure,
		Transport: transport,
		Region:    cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
	})
	if err != nil {
		return nil, fmt.Errorf("the server's address: %w", err)
	}
	return &bucket{client: client, transport: transport, name: name, prefix: prefix}, nil
}

// endpoint returns the server's host and port, and whether it uses TLS.
func endpoint() (host string, secure bool, err error) {
	variable, address := "", amazon
	for _, v := range [...]string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"} {
		if s := os.Getenv(v); s != "" {
			variable, address = v, s
			break
		}
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return "", false, fmt.Errorf(`%s: expected "http://host:port" or "https://host:port" and nothing more`, variable)
	}
	return u.Host, u.Scheme == "https", nil
}

func (b *bucket) key(folder, name string) string { return b.prefix + folder + "/" + name }

func (b *bucket) names(ctx context.Context, folder string) ([]string, error) {
	var names []string
	prefix := b.key(folder, "")
	for object := range b.client.ListObjectsIter(ctx, b.name, minio.ListObjectsOptions{Prefix: prefix}) {
		if object.Err != nil {
			return nil, object.Err
		}
		names = append(names, strings.TrimPrefix(object.Key, prefix))
	}
	return names, ctx.Err()
}

// publish streams a multipart upload. The object is invisible until it is complete. A failed upload
// is aborted, even if ctx has ended.
func (b *bucket) publish(ctx context.Context, folder, name string, write func(io.Writer) error) error {
	r, w := io.Pipe()
	uploaded := make(chan error, 1)
	go func() {
		_, err := b.client.PutObject(ctx, b.name, b.key(folder, name), r, -1, minio.PutObjectOptions{ContentType: mediaType, PartSize: partBytes})
		r.CloseWithError(cmp.Or(err, io.ErrClosedPipe))
		uploaded <- err
	}()
	err := writeAndClose(w, write)
	// If the upload failed, err is the same error or follows from it.
	return cmp.Or(<-uploaded, err)
}

// writeAndClose calls write and closes the pipe. The pipe's reader gets io.EOF only if write
// succeeded.
func writeAndClose(w *io.PipeWriter, write func(io.Writer) error) error {
	err := errPanicked
	defer func() {
		if err != nil {
			// It must be wrapped: minio takes a plain io.ErrUnexpectedEOF for the end of the
			// object.
			err = fmt.Errorf("upload aborted: %w", err)
		}
		w.CloseWithError(err)
	}()
	buffered := bufio.NewWriterSize(w, writeBytes)
	if err = write(buffered); err == nil {
		err = buffered.Flush()
	}
	return err
}

var errPanicked = errors.New("the writer panicked")

func (b *bucket) read(ctx context.Context, folder, name string, f func(io.ReaderAt, int64) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	object, err := b.client.GetObject(ctx, b.name, b.key(folder, name), minio.GetObjectOptions{})
	if err != nil {
		return err
	}
	info, err := object.Stat()
	if err == nil {
		err = f(object, info.Size)
	}
	return errors.Join(err, object.Close())
}

func (b *bucket) clean(ctx context.Context, folder string) error {
	ctx, cancel := context.WithCancel(ctx) // without cancel the listing would wait for its reader
	defer cancel()
	prefix := b.key(folder, "")
	for upload := range b.client.ListIncompleteUploads(ctx, b.name, prefix, true) {
		err := upload.Err
		if err == nil && isFileName(strings.TrimPrefix(upload.Key, prefix)) {
			err = b.client.RemoveIncompleteUpload(ctx, b.name, upload.Key)
		}
		// NoSuchUpload: aborted by another process meanwhile, or a server's way to list no uploads.
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
			return err
		}
	}
	return ctx.Err()
}

func (b *bucket) close() { b.transport.CloseIdleConnections() }
