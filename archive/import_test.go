package archive

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// cancelingFS calls stop when a name is opened.
type cancelingFS struct {
	fs.FS
	at   string
	stop context.CancelFunc
}

func (s cancelingFS) Open(name string) (fs.File, error) {
	if name == s.at {
		s.stop()
	}
	return s.FS.Open(name)
}

// An interrupted import leaves nothing on disk, so that the next start repeats it and does not
// mistake a part of the history for all of it.
func TestInterruptedImport(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newImporter(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	from := cancelingFS{os.DirFS("ccms/testdata/bin-60s"), "alpha/n2", stop}
	if _, err := a.Import(ctx, from); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if a.Store.Size().Series == 0 {
		t.Fatal("nothing was imported before the end")
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(Options{Dir: dir, Store: newImporter(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	r, err := again.Restore(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if r.Files+r.Journal.Records > 0 || again.Store.Size().Series > 0 {
		t.Errorf("%d files, %d series", r.Files, again.Store.Size().Series)
	}
}

// newImporter returns a store whose retention includes the recordings.
func newImporter(t *testing.T) *memstore.Store {
	t.Helper()
	s, err := memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "cpu_load", Frequency: time.Minute}, {Name: "flops_any", Frequency: time.Minute}},
		Retention: 100 * 365 * 24 * time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
