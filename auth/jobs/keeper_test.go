package jobs

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/auth/jobs/jobstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func keeper(file *jobstest.File, log *bytes.Buffer) *Keeper {
	return &Keeper{Index: new(clock).index(), File: file, Log: slog.New(slog.NewTextHandler(log, nil))}
}

// A damaged file is set aside and logged, and the service starts.
func TestADamagedFileIsSetAside(t *testing.T) {
	file := new(jobstest.File)
	var log bytes.Buffer
	k := keeper(file, &log)
	ok(t, k.Load()) // there is none
	ok(t, k.Index.Apply(Report{Job: jobOn("ann", 1, base-10, base, "h1")}))
	ok(t, k.Save())
	copy(file.Content, "RSJOBS\x00\x09")
	damaged := bytes.Clone(file.Content)
	again := keeper(file, &log)
	ok(t, again.Load())
	if file.Content != nil || !bytes.Equal(file.Damaged, damaged) || !strings.Contains(log.String(), "jobs.rsj.damaged") {
		t.Errorf("%d bytes left, %d set aside; the log: %s", len(file.Content), len(file.Damaged), &log)
	}
	if n := again.Index.Size(); n.Jobs != 0 {
		t.Errorf("%+v", n)
	}
	ok(t, again.Save())
}

// Run saves changes, the last ones when it ends, and logs once that the disk is full.
func TestKeeperRuns(t *testing.T) {
	file := new(jobstest.File)
	var log bytes.Buffer
	k := keeper(file, &log)
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { k.Run(ctx) })
	ok(t, k.Index.Apply(Report{Job: jobOn("ann", 1, base-10, base, "h1")}))
	for end := time.Now().Add(30 * time.Second); k.SavedAt() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never saved")
		}
	}
	ok(t, k.Index.Apply(Report{Job: jobOn("ann", 2, base-10, base, "h1")}))
	cancel()
	running.Wait()
	again := keeper(file, &log)
	ok(t, again.Load())
	if n := again.Index.Size(); n.Jobs != 2 || log.Len() > 0 {
		t.Errorf("%+v; the log: %s", n, &log)
	}

	file.Err = syscall.ENOSPC
	k.Index.SetLastPoll(base)
	for range 2 {
		running.Go(func() { k.Run(ctx) })
		running.Wait()
	}
	if strings.Count(log.String(), "cannot save") != 2 {
		t.Errorf("the log: %s", &log)
	}
}
