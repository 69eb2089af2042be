// Package parquet writes an archive that other programs can read: Parquet files, one per cluster
// and UTC day, in a local directory or in a bucket of an S3 server.
//
// Its input is sorted columns of samples. Which samples are archived and when, and what happens to
// their source, is up to package archive. FORMAT.md describes the files.
package parquet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/ringstore/ringstore/archive/disk"
)

// Archive is a directory or an S3 prefix with Parquet files, which one process may write. Its
// methods are safe for concurrent use. One file is written at a time, which bounds the memory used.
type Archive struct {
	files    destination
	encoding Encoding
	writing  sync.Mutex
}

// Encoding is how the pages of files are encoded. All are compressed with zstd.
type Encoding uint8

const (
	// Compatible has data pages of version 1 with plain and dictionary encodings, which Spark 3.0,
	// Polars and older versions of Arrow read.
	Compatible Encoding = iota
	// Compact has data pages of version 2, and times as differences.
	Compact
)

// Open returns the archive at a location, which writes files of an encoding: "s3://bucket", "s3://bucket/prefix", or a directory of
// fsys, which the first Write creates.
//
// For S3, credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
// AWS_SESSION_TOKEN), from the credentials file and profile of the AWS command line, or from the
// machine's role; the region from AWS_REGION or AWS_DEFAULT_REGION; and the server from
// AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, by default Amazon's. Open does not contact the server.
func Open(fsys disk.FS, location string, encoding Encoding) (*Archive, error) {
	if bucket, ok := strings.CutPrefix(location, s3Scheme); ok {
		b, err := openBucket(bucket)
		if err != nil {
			return nil, fmt.Errorf("archive in S3: %w", err)
		}
		return &Archive{files: b, encoding: encoding}, nil
	}
	if location == "" {
		return nil, errors.New("archive: expected a directory, got an empty one")
	}
	return &Archive{files: &directory{fs: fsys, root: location}, encoding: encoding}, nil
}

// Close closes idle connections. A second Close does nothing.
func (a *Archive) Close() error {
	a.files.close()
	return nil
}

// destination is a place where files are published. A folder is a single directory name, a name a
// file name in it.
type destination interface {
	// names lists a folder. The listed files survive a loss of power.
	names(ctx context.Context, folder string) ([]string, error)
	// publish creates a file atomically: it is complete or absent.
	publish(ctx context.Context, folder, name string, write func(io.Writer) error) error
	// read calls f with a published file and its size in bytes.
	read(ctx context.Context, folder, name string, f func(io.ReaderAt, int64) error) error
	// clean removes the remains of interrupted calls of publish.
	clean(ctx context.Context, folder string) error
	close()
}

// File is a published file.
type File struct {
	Name   string // "<cluster>/<day>.parquet", under the archive's directory or prefix
	Rows   int64
	Bytes  int64
	Source string // as passed to [Archive.Write]; "" if another program wrote the file
	Damage error  // why the file is unreadable; then Rows and Source are zero
}

// Write publishes the columns of a cluster and day as a file. The columns must be in the order of
// [Column.Compare], and all times within the day. Their slices are used only during their
// iteration.
//
// source identifies what the rows were made from. It must be UTF-8 and not empty, and is stored in
// the file. If the day already has a file of that source, Write returns that file, publishes
// nothing and reads no column. An interrupted run can therefore be repeated without losing or
// duplicating rows, as long as the same source means the same rows.
//
// Without rows nothing is published, and File is zero. After an error nothing is published, with
// one exception: if the server or the directory fails at the very end, the file may exist.
func (a *Archive) Write(ctx context.Context, cluster string, day Day, source string, columns iter.Seq2[Column, error]) (File, error) {
	folder := folderName(cluster)
	if source == "" || !utf8.ValidString(source) {
		return File{}, fmt.Errorf("archive of %s, %s: expected UTF-8 as source, got %q", cluster, day, source)
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	files, last, err := a.day(ctx, folder, day)
	if err != nil {
		return File{}, err
	}
	if i := indexSource(files, source); i >= 0 {
		return files[i], nil
	}
	name := fileName(day, last+1)
	file := File{Name: folder + "/" + name, Source: source}
	err = a.files.publish(ctx, folder, name, func(w io.Writer) error {
		out := byteCounter{Writer: w}
		file.Rows, err = writeFile(ctx, &out, description{cluster, day, source}, a.encoding, columns)
		file.Bytes = out.bytes
		if err == nil && file.Rows == 0 {
			return errNoRows
		}
		return err
	})
	switch {
	case errors.Is(err, errNoRows):
		return File{}, nil
	case err != nil:
		return File{}, fmt.Errorf("archive file %s: %w", file.Name, err)
	}
	return file, nil
}

// byteCounter counts the bytes written.
type byteCounter struct {
	io.Writer
	bytes int64
}

func (c *byteCounter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.bytes += int64(n)
	return n, err
}

// errNoRows keeps an empty file from being published.
var errNoRows = errors.New("no rows")

// Has reports whether a file of the source is published. If so, the file is on disk or on the
// server, and the source may be deleted.
func (a *Archive) Has(ctx context.Context, cluster string, day Day, source string) (bool, error) {
	files, err := a.Files(ctx, cluster, day)
	return indexSource(files, source) >= 0, err
}

func indexSource(files []File, source string) int {
	return slices.IndexFunc(files, func(f File) bool { return f.Source == source && source != "" })
}

// Files returns the published files of a cluster's day, oldest first. The error is one of the
// directory or the server; damaged files are in the list.
func (a *Archive) Files(ctx context.Context, cluster string, day Day) ([]File, error) {
	files, _, err := a.day(ctx, folderName(cluster), day)
	return files, err
}

// day returns the files of a day and the number of the last one; 0 if there is none.
func (a *Archive) day(ctx context.Context, folder string, day Day) (files []File, last int, err error) {
	names, err := a.files.names(ctx, folder)
	if err != nil {
		return nil, 0, fmt.Errorf("archive of %s: %w", folder, err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return fileNumber(day, name) == 0 })
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(fileNumber(day, a), fileNumber(day, b)) })
	for _, name := range names {
		file := File{Name: folder + "/" + name}
		err := a.files.read(ctx, folder, name, func(r io.ReaderAt, size int64) error {
			file.Bytes = size
			file.Rows, file.Source, err = readSource(r, size)
			return err
		})
		if err != nil {
			err = fmt.Errorf("archive file %s: %w", file.Name, err)
		}
		if err != nil && !errors.Is(err, errNotParquet) {
			return nil, 0, err
		}
		file.Damage = err
		files = append(files, file)
		last = fileNumber(day, name)
	}
	return files, last, nil
}

// Clean removes the remains of interrupted calls of Write from a cluster's folder: temporary files,
// and uploads that were neither completed nor aborted.
func (a *Archive) Clean(ctx context.Context, cluster string) error {
	folder := folderName(cluster)
	a.writing.Lock()
	defer a.writing.Unlock()
	if err := a.files.clean(ctx, folder); err != nil {
		return fmt.Errorf("cleaning the archive of %s: %w", folder, err)
	}
	return nil
}
