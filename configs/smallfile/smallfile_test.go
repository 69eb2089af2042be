package smallfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/ringstore/ringstore/configs/smallfile"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, read := range map[string]func(string, int64) ([]byte, error){"Read": smallfile.Read, "ReadRegular": smallfile.ReadRegular} {
		if data, err := read(path, 5); string(data) != "12345" || err != nil {
			t.Errorf("%s: %q, %v", name, data, err)
		}
		data, err := read(path, 4)
		if tooLarge, ok := errors.AsType[*smallfile.TooLargeError](err); !ok || tooLarge.MaxBytes != 4 || data != nil {
			t.Errorf("%s, too large: %q, %v", name, data, err)
		}
		if data, err := read(filepath.Join(dir, "none"), 5); !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), dir) || data != nil {
			t.Errorf("%s, missing: %q, %v", name, data, err)
		}
	}
	if _, err := smallfile.Read(dir, 5); err == nil || err.Error() != "is a directory" {
		t.Error(err)
	}
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, pipe} {
		if _, err := smallfile.ReadRegular(path, 5); err == nil || err.Error() != "not a regular file" {
			t.Errorf("%s: %v", path, err)
		}
	}
	want := errors.New("broken")
	if data, err := smallfile.ReadAll(iotest.ErrReader(want), 5); !errors.Is(err, want) || data != nil {
		t.Errorf("%q, %v", data, err)
	}
}
