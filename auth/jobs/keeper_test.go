package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/archive/disk/disktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keeper(t *testing.T, fsys *disktest.FS, log *bytes.Buffer) *Keeper {
	ok(t, fsys.MkdirAll("/data", 0o750))
	return &Keeper{Index: new(clock).index(), FS: fsys, Path: "/data/" + FileName, Log: slog.New(slog.NewTextHandler(log, nil))}
}

// What is damaged is set aside and told, and the service starts.
func TestADamagedFileIsSetAside(t *testing.T) {
	fsys := disktest.New(1)
	var log bytes.Buffer
	k := keeper(t, fsys, &log)
	ok(t, k.Load()) // there is none
	ok(t, k.Index.Learn(Report{Job: jobOn("ann", 1, base-10, base, "h1")}))
	ok(t, k.Save())
	f, err := fsys.OpenFile(k.Path, syscall.O_WRONLY, 0)
	ok(t, err)
	_, err = f.Write([]byte("RSJOBS\x00\x09"))
	ok(t, errors.Join(err, f.Close()))
	again := keeper(t, fsys, &log)
	ok(t, again.Load())
	if _, err := fsys.Stat(k.Path + ".damaged"); err != nil || !strings.Contains(log.String(), "jobs.rsj.damaged") {
		t.Errorf("%v; the log: %s", err, &log)
	}
	if n := again.Index.Size(); n.Jobs != 0 {
		t.Errorf("%+v", n)
	}
	ok(t, again.Save())
}

// Run saves what has changed, the last of it when it ends, and tells once that
// the disk is full.
func TestKeeperRuns(t *testing.T) {
	fsys := disktest.New(1)
	var log bytes.Buffer
	k := keeper(t, fsys, &log)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	ok(t, k.Index.Learn(Report{Job: jobOn("ann", 1, base-10, base, "h1")}))
	for end := time.Now().Add(30 * time.Second); k.SavedAt() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never saved")
		}
	}
	ok(t, k.Index.Learn(Report{Job: jobOn("ann", 2, base-10, base, "h1")}))
	cancel()
	running.Wait()
	again := keeper(t, fsys, &log)
	ok(t, again.Load())
	if n := again.Index.Size(); n.Jobs != 2 || log.Len() > 0 {
		t.Errorf("%+v; the log: %s", n, &log)
	}

	fsys.Inject(func(disktest.Op) error { return syscall.ENOSPC })
	k.Index.SetPolled(base)
	for range 2 {
		running.Go(func() { k.Run(ctx) })
		running.Wait()
	}
	if strings.Count(log.String(), "not saved") != 2 {
		t.Errorf("the log: %s", &log)
	}
}
