// Package parquet writes what leaves the store's retention to an archive that
// other programs read: Parquet files, one for each cluster and UTC day, in a
// local directory or in a bucket of an S3 server.
//
// It knows series as sorted columns of samples, Parquet, files and S3, but
// nothing of where the samples come from, when a day is over, or what becomes
// of its sources. FORMAT.md says what is in the files.
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

// Archive is a directory or an S3 prefix with Parquet files in it, which one
// process writes. Its methods may be called by many goroutines; one file is
// written at a time, so that the memory for one is all that is needed.
type Archive struct {
	files   destination
	writing sync.Mutex
}

// Open returns the archive at a location: "s3://bucket", "s3://bucket/prefix",
// or else a directory of fsys, which is made when it is first written to.
//
// S3 takes its credentials from the environment (AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), the file and profile of the AWS
// command line, or the machine's role; the region from AWS_REGION or
// AWS_DEFAULT_REGION; and the server from AWS_ENDPOINT_URL_S3 or
// AWS_ENDPOINT_URL, by default Amazon's. Nothing is asked of it yet.
func Open(fsys disk.FS, location string) (*Archive, error) {
	if bucket, ok := strings.CutPrefix(location, s3Scheme); ok {
		b, err := openBucket(bucket)
		if err != nil {
			return nil, fmt.Errorf("archive in S3: %w", err)
		}
		return &Archive{files: b}, nil
	}
	if location == "" {
		return nil, errors.New("archive: no directory")
	}
	return &Archive{files: &directory{fs: fsys, root: location}}, nil
}

// Close gives idle connections back. A second Close does nothing.
func (a *Archive) Close() error {
	a.files.close()
	return nil
}

// destination is where files are published. A folder is one directory name,
// a name one file name in it.
type destination interface {
	// names lists a folder. What it lists survives a loss of power.
	names(ctx context.Context, folder string) ([]string, error)
	// publish makes a file that is there as a whole, or not at all.
	publish(ctx context.Context, folder, name string, write func(io.Writer) error) error
	// read calls f with a published file and its size in bytes.
	read(ctx context.Context, folder, name string, f func(io.ReaderAt, int64) error) error
	// clean removes what calls of publish left that did not come to their end.
	clean(ctx context.Context, folder string) error
	close()
}

// File is a published file.
type File struct {
	Name   string // "<cluster>/<day>.parquet", under the archive's directory or prefix
	Rows   int64
	Bytes  int64
	Source string // what [Archive.Write] was given; "" if the file is not ours
}

// Write publishes the columns of a cluster and day as a file. The columns must
// be in the order of [Column.Compare], and all their times within the day.
// Their slices are used during their step only.
//
// source says what the rows were made from, as UTF-8 that is not empty, and is
// kept in the file: where the day has a file of that source, Write publishes
// nothing, asks for no column and returns that file. So a run that was
// interrupted is repeated without a lost or a doubled row, as long as the same
// source means the same rows. Without a row nothing is published, and File is
// zero. Nor is it after an error, of columns or our own, but one: if the server
// or the directory failed in the last moment, the file may be there.
func (a *Archive) Write(ctx context.Context, cluster string, day Day, source string, columns iter.Seq2[Column, error]) (File, error) {
	folder, err := folderName(cluster)
	if err != nil {
		return File{}, err
	}
	if source == "" || !utf8.ValidString(source) {
		return File{}, fmt.Errorf("archive of %s, %s: the source %q is empty or not UTF-8", cluster, day, source)
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
		out := counter{Writer: w}
		file.Rows, err = writeFile(ctx, &out, description{cluster, day, source}, columns)
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

// counter counts what passes.
type counter struct {
	io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.bytes += int64(n)
	return n, err
}

// errNoRows keeps an empty file from being published.
var errNoRows = errors.New("no rows")

// Has reports whether a file of the source is published. When it says yes, the
// file is on disk, or the server has it: the source may go.
func (a *Archive) Has(ctx context.Context, cluster string, day Day, source string) (bool, error) {
	files, err := a.Files(ctx, cluster, day)
	return indexSource(files, source) >= 0, err
}

func indexSource(files []File, source string) int {
	return slices.IndexFunc(files, func(f File) bool { return f.Source == source && source != "" })
}

// Files returns the published files of a cluster's day, oldest first. A file
// that cannot be read is an error: nobody knows then which rows are archived.
func (a *Archive) Files(ctx context.Context, cluster string, day Day) ([]File, error) {
	folder, err := folderName(cluster)
	if err != nil {
		return nil, err
	}
	files, _, err := a.day(ctx, folder, day)
	return files, err
}

// day returns the files of a day and the number of the last; 0 if there is none.
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
			return nil, 0, fmt.Errorf("archive file %s: %w", file.Name, err)
		}
		files = append(files, file)
		last = fileNumber(day, name)
	}
	return files, last, nil
}

// Clean removes what an interrupted Write left behind in a cluster's folder:
// temporary files, and uploads that were neither finished nor aborted. It also
// takes those that began in the moment in which ctx ended.
func (a *Archive) Clean(ctx context.Context, cluster string) error {
	folder, err := folderName(cluster)
	if err != nil {
		return err
	}
	a.writing.Lock()
	defer a.writing.Unlock()
	if err := a.files.clean(ctx, folder); err != nil {
		return fmt.Errorf("cleaning the archive of %s: %w", folder, err)
	}
	return nil
}
