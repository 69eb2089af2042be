package source_test

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/source"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
}

func TestOpenFailsWithoutFiles(t *testing.T) {
	dir := t.TempDir()
	f := func(path, want string) {
		t.Helper()
		w, err := source.Open(t.Context(), source.Options{}, source.File(path, new(receiver).apply))
		if w != nil || err == nil || err.Error() != path+": "+want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f(filepath.Join(dir, "none"), "no such file or directory")
	f(dir, "not a regular file")
	large, bad, pipe := filepath.Join(dir, "large"), filepath.Join(dir, "bad"), filepath.Join(dir, "pipe")
	write(t, large, strings.Repeat("x", source.MaxBytes+1))
	f(large, "larger than 1048576 bytes")
	write(t, bad, "bad key")
	f(bad, "refused: no key in it")
	write(t, bad, "")
	f(bad, "is empty")
	must(t, syscall.Mkfifo(pipe, 0o600))
	f(pipe, "not a regular file")
}

// Every way of replacing a file is noticed. Unusable content is not applied.
func TestFileChanges(t *testing.T) {
	f := func(name string, change func(t *testing.T, path string)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r receiver
			path := filepath.Join(t.TempDir(), "key.pem")
			write(t, path, "one")
			open(t, source.Options{}, source.File(path, r.apply))
			r.want(t, "one")
			change(t, path)
			r.eventually(t, "one,two")
		})
	}
	f("written", func(t *testing.T, path string) { write(t, path, "two") })
	f("renamed over", func(t *testing.T, path string) {
		write(t, path+".new", "two")
		must(t, os.Rename(path+".new", path))
	})
	f("removed and made again", func(t *testing.T, path string) {
		must(t, os.Remove(path))
		write(t, path, "two")
	})
	f("bad, then good", func(t *testing.T, path string) {
		write(t, path, "bad")
		write(t, path, "two")
	})
	f("a link in its place", func(t *testing.T, path string) {
		target := filepath.Join(t.TempDir(), "elsewhere")
		write(t, target, "two")
		must(t, os.Symlink(target, path+".link"))
		must(t, os.Rename(path+".link", path))
	})
}

func TestUnusableFileKeepsPreviousData(t *testing.T) {
	var r receiver
	var log lines
	path := filepath.Join(t.TempDir(), "key.pem")
	write(t, path, "one")
	open(t, source.Options{Log: log.logger()}, source.File(path, r.apply))
	for text, reported := range map[string]string{
		"": "is empty", "bad": "no key in it", strings.Repeat("x", source.MaxBytes+1): "larger than",
	} {
		write(t, path, text)
		log.eventually(t, reported)
	}
	must(t, os.Remove(path))
	log.eventually(t, "no such file")
	r.want(t, "one")
	write(t, path, "two")
	r.eventually(t, "one,two")
	if log.has("two") {
		t.Errorf("the log shows content: %q", log.all)
	}
}

// A broken file is logged once, however often its directory changes: here the log itself is in that
// directory.
func TestBrokenFileInABusyDirectory(t *testing.T) {
	var r receiver
	var log lines
	dir := t.TempDir()
	path := filepath.Join(dir, "key.pem")
	write(t, path, "one")
	file, err := os.Create(filepath.Join(dir, "ringstore.log"))
	must(t, err)
	defer file.Close()
	logger := slog.New(slog.NewTextHandler(io.MultiWriter(&log, file), nil))
	open(t, source.Options{Log: logger}, source.File(path, r.apply))
	write(t, path, "bad")
	log.eventually(t, "no key in it")
	for range 10 {
		write(t, filepath.Join(dir, "other"), "changed")
		time.Sleep(100 * time.Millisecond)
	}
	if n := log.count("no key in it"); n != 1 {
		t.Errorf("logged %d times in a second", n)
	}
	write(t, path, "worse: "+strings.Repeat("x", source.MaxBytes)) // another failure is logged at once
	log.eventually(t, "larger than")
	write(t, path, "one")
	log.eventually(t, "source read again")
	r.want(t, "one")
}

// A secret that Kubernetes mounts is replaced by swapping a link to the directory that all its
// files link into: https://pkg.go.dev/k8s.io/kubernetes/pkg/volume/util, AtomicWriter.
func TestKubernetesMount(t *testing.T) {
	var keys, revoked receiver
	mount := t.TempDir()
	version := func(name, key, list string) {
		write(t, filepath.Join(mount, name, "key.pem"), key)
		write(t, filepath.Join(mount, name, "revoked.json"), list)
		must(t, os.Symlink(name, filepath.Join(mount, "..data_tmp")))
		must(t, os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")))
	}
	version("..1", "one", "{}")
	for _, name := range []string{"key.pem", "revoked.json"} {
		must(t, os.Symlink(filepath.Join("..data", name), filepath.Join(mount, name)))
	}
	open(t, source.Options{}, source.File(filepath.Join(mount, "key.pem"), keys.apply), source.File(filepath.Join(mount, "revoked.json"), revoked.apply))
	for _, next := range []string{"two", "three"} {
		version("..v"+next, next, "{}")
		must(t, os.RemoveAll(filepath.Join(mount, "..1")))
		if next == "two" {
			keys.eventually(t, "one,two")
		}
	}
	keys.eventually(t, "one,two,three")
	revoked.want(t, "{}")
}

// A change without a notification is noticed at the next read.
func TestFileIsReadWithoutNotification(t *testing.T) {
	var r receiver
	dir := filepath.Join(t.TempDir(), "keys")
	path := filepath.Join(dir, "key.pem")
	write(t, path, "one")
	open(t, source.Options{FileInterval: 20 * time.Millisecond}, source.File(path, r.apply))
	must(t, os.RemoveAll(dir)) // which also ends its notifications
	time.Sleep(2 * 100 * time.Millisecond)
	write(t, path, "two")
	r.eventually(t, "one,two")
	write(t, path, "three")
	r.eventually(t, "one,two,three")
}

// If a link leads to another directory, that directory is watched too.
func TestLinkedFile(t *testing.T) {
	var r receiver
	dir, elsewhere := t.TempDir(), t.TempDir()
	target := filepath.Join(elsewhere, "key.pem")
	write(t, target, "one")
	must(t, os.Symlink(target, filepath.Join(dir, "key.pem")))
	open(t, source.Options{}, source.File(filepath.Join(dir, "key.pem"), r.apply))
	write(t, target, "two")
	r.eventually(t, "one,two")
}
