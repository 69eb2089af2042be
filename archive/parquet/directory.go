package parquet

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ringstore/ringstore/archive/disk"
)

// directory is a destination on a file system.
type directory struct {
	fs   disk.FS
	root string
}

func (d *directory) names(ctx context.Context, folder string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := filepath.Join(d.root, folder)
	// The process that published a file may have died before it synced the directories.
	err := d.fs.SyncDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = d.fs.SyncDir(d.root)
	}
	if err != nil {
		return nil, err
	}
	entries, err := d.fs.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, nil
}

func (d *directory) publish(_ context.Context, folder, name string, write func(io.Writer) error) error {
	path := filepath.Join(d.root, folder)
	if err := d.fs.MkdirAll(path, 0o750); err != nil {
		return err
	}
	return disk.Publish(d.fs, filepath.Join(path, name), write)
}

func (d *directory) read(ctx context.Context, folder, name string, f func(io.ReaderAt, int64) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	file, err := d.fs.OpenFile(filepath.Join(d.root, folder, name), os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err == nil {
		err = f(file, info.Size())
	}
	return errors.Join(err, file.Close())
}

func (d *directory) clean(ctx context.Context, folder string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := disk.RemoveTemporary(d.fs, filepath.Join(d.root, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (d *directory) close() {}
