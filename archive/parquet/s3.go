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
	partBytes  = 8 << 20 // held in memory; S3 takes 10000 parts: 78 GiB a file
	mediaType  = "application/vnd.apache.parquet"
	writeBytes = 64 << 10
)

// bucket is a destination in S3.
type bucket struct {
	client    *minio.Client
	transport *http.Transport
	name      string
	prefix    string // "" or with a slash at its end
}

// openBucket takes "bucket" or "bucket/prefix". Its errors do not repeat what
// it was given: people write credentials where none belong.
func openBucket(location string) (*bucket, error) {
	name, prefix, _ := strings.Cut(location, "/")
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix != "" {
		if path.Clean("/"+prefix) != "/"+prefix {
			return nil, errors.New(`the prefix holds an empty, "." or ".." element`)
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

// endpoint returns the server's host and port, and whether it speaks TLS.
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
		return "", false, fmt.Errorf(`%s must be "http://host:port" or "https://host:port", and nothing more`, variable)
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

// publish streams a multipart upload. The server shows no object before it is
// complete; one that fails is aborted, also when ctx has ended.
func (b *bucket) publish(ctx context.Context, folder, name string, write func(io.Writer) error) error {
	r, w := io.Pipe()
	uploaded := make(chan error, 1)
	go func() {
		_, err := b.client.PutObject(ctx, b.name, b.key(folder, name), r, -1, minio.PutObjectOptions{ContentType: mediaType, PartSize: partBytes})
		r.CloseWithError(cmp.Or(err, io.ErrClosedPipe))
		uploaded <- err
	}()
	err := writeAndClose(w, write)
	// Where the upload failed, that is what the writer got, too.
	return cmp.Or(<-uploaded, err)
}

// writeAndClose ends the pipe's reader by io.EOF only if write came to its end.
func writeAndClose(w *io.PipeWriter, write func(io.Writer) error) error {
	err := errPanicked
	defer func() {
		if err != nil {
			// Wrapped, as an io.ErrUnexpectedEOF of the writer's sources is
			// what minio takes for the end of the object.
			err = fmt.Errorf("upload broken off: %w", err)
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
	ctx, cancel := context.WithCancel(ctx) // or the listing waits for its reader
	defer cancel()
	prefix := b.key(folder, "")
	for upload := range b.client.ListIncompleteUploads(ctx, b.name, prefix, true) {
		err := upload.Err
		if err == nil && isFileName(strings.TrimPrefix(upload.Key, prefix)) {
			err = b.client.RemoveIncompleteUpload(ctx, b.name, upload.Key)
		}
		// Aborted by somebody else meanwhile, or a server's way to list none.
		if err != nil && minio.ToErrorResponse(err).Code != minio.NoSuchUpload {
			return err
		}
	}
	return ctx.Err()
}

func (b *bucket) close() { b.transport.CloseIdleConnections() }
