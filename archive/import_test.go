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

// stopping is a directory whose reader is told to stop when it comes to a name.
type stopping struct {
	fs.FS
	at   string
	stop context.CancelFunc
}

func (s stopping) Open(name string) (fs.File, error) {
	if name == s.at {
		s.stop()
	}
	return s.FS.Open(name)
}

// An import that was broken off leaves nothing on disk, so that the next start
// begins it anew and does not take a part of the history for all of it.
func TestImportBrokenOff(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir, newImporter(t))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	from := stopping{os.DirFS("ccms/testdata/bin-60s"), "alpha/n2", stop}
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

// newImporter returns a store whose retention reaches back to the recordings.
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
