package archive

import (
	"context"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/disk/disktest"
	"github.com/ringstore/ringstore/memstore"
)

// heldFS opens no windows file until it is released.
type heldFS struct {
	disk.FS
	held    atomic.Bool
	release chan struct{}
}

func (f *heldFS) OpenFile(name string, flag int, perm fs.FileMode) (disk.File, error) {
	if strings.Contains(name, windowsPrefix) {
		f.held.Store(true)
		<-f.release
	}
	return f.FS.OpenFile(name, flag, perm)
}

// The store is maintained while a checkpoint takes long: windows leave it when their retention ends.
func TestMaintenanceDuringACheckpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memstore.New(memstore.Options{Metrics: []memstore.Metric{{Name: "load", Frequency: time.Minute}}, Retention: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		fsys := &heldFS{FS: disktest.New(1), release: make(chan struct{})}
		a, err := Open(Options{Dir: "/d", Store: s, FS: fsys})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Restore(t.Context()); err != nil {
			t.Fatal(err)
		}
		sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: "n", Metric: "load"})
		if err != nil {
			t.Fatal(err)
		}
		if refused, err := a.Write(t.Context(), []memstore.Sample{{Series: sr, Time: time.Now().UnixMilli(), Value: 1}}); err != nil || len(refused) > 0 {
			t.Fatal(refused, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); a.Run(ctx) }()
		time.Sleep(3 * time.Hour)
		if !fsys.held.Load() || a.checkpoints.get().Done+a.checkpoints.get().Failed != 0 {
			t.Fatal("no checkpoint is blocked")
		}
		if n := s.Size(); n.Series != 0 {
			t.Errorf("%d series are left after their retention", n.Series)
		}
		close(fsys.release)
		cancel()
		<-ended
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}
