package archive

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/memstore"
)

// restoreOnly is the environment's variable that has the test binary restore a
// directory and tell what that took.
const restoreOnly = "RINGSTORE_TEST_RESTORE"

var restoreSamples = flag.Int("samples", 2_000_000, "to restore, and to archive, in little memory")

// moveTo has it archive all of that as Parquet, into this directory, instead.
const moveTo = "RINGSTORE_TEST_MOVE"

// took is what a process tells of its restore.
type took struct {
	Samples int64 // that are there
	Bytes   int64 // of the store, by its books
	Peak    int64 // resident, bytes
	Took    time.Duration
}

func largeStore(at int64) (*memstore.Store, error) {
	return memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention: 48 * time.Hour,
		Now:       func() time.Time { return time.Unix(at, 0) },

		KeepUnstored: true, // as there is a Parquet archive in one of the tests
	})
}

// fillLarge makes an archive of -samples in whole hosts, at least one, and returns
// how many there are.
func fillLarge(t *testing.T, dir string) (*memstore.Store, *Archive, int64) {
	t.Helper()
	samples := *restoreSamples
	if raceDetector {
		samples /= 20 // it is as much slower
	}
	s, err := largeStore(now)
	ok(t, err)
	a := open(t, dir, s)
	const steps, series = 1000, 100
	hosts := max(samples/(steps*series), 1)
	r := rand.New(rand.NewPCG(1, 2))
	batch := make([]memstore.Sample, series)
	for step := range steps {
		for h := range hosts {
			for i := range series {
				sr, err := s.Series(memstore.Key{Cluster: "alpha", Host: fmt.Sprint("n", h), Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(i)}})
				ok(t, err)
				batch[i] = memstore.Sample{Series: sr, Time: (now - int64(steps-step)*60) * 1000, Value: r.NormFloat64()}
			}
			_, err := a.Write(t.Context(), batch)
			ok(t, err)
		}
	}
	all, err := s.Values()
	ok(t, err)
	return s, a, all
}

// leave ends an archive as a kill would.
func leave(t *testing.T, a *Archive) {
	t.Helper()
	ok(t, a.journal.Load().Close())
	ok(t, a.lock.Close())
	a.closed.Store(true)
}

// inProcess returns what a process of its own tells of the directory.
func inProcess(t *testing.T, dir string, env ...string) (told took) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(append(os.Environ(), restoreOnly+"="+dir), env...)
	child.Stderr = os.Stderr
	out, err := child.Output()
	ok(t, err)
	ok(t, json.Unmarshal(out, &told))
	return told
}

func restoreAndTell(dir string) error {
	s, err := largeStore(now)
	if err != nil {
		return err
	}
	a, err := Open(Options{Dir: dir, Store: s})
	if err != nil {
		return err
	}
	begin := time.Now()
	if _, err := a.Restore(context.Background()); err != nil {
		return err
	}
	told := took{Took: time.Since(begin), Bytes: s.Size().Bytes}
	if told.Peak, err = peakMemory(); err != nil {
		return err
	}
	if told.Samples, err = s.Values(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// moveAndTell archives what is in a directory, a week later, and tells by how much
// that raised the resident memory's peak.
func moveAndTell(dir, to string) error {
	const later = now + 7*24*60*60
	s, err := largeStore(later)
	if err != nil {
		return err
	}
	p, err := parquet.Open(disk.OS{}, to)
	if err != nil {
		return err
	}
	a, err := Open(Options{Dir: dir, Store: s, Parquet: p, Now: func() time.Time { return time.Unix(later, 0) }})
	if err != nil {
		return err
	}
	if _, err := a.Restore(context.Background()); err != nil {
		return err
	}
	before, err := peakMemory()
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := errors.Join(a.Checkpoint(), a.Cleanup(context.Background(), true)); err != nil { // as -cleanup-checkpoints does
		return err
	}
	told := took{Took: time.Since(begin)}
	after, err := peakMemory()
	told.Peak = after - before
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(told))
}

// peakMemory is VmHWM of proc_pid_status(5), in bytes.
func peakMemory() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	var kib int64
	_, line, _ := strings.Cut(string(status), "VmHWM:")
	_, err = fmt.Sscan(line, &kib)
	return kib << 10, err
}

// A restore takes little memory beside what it restores, from blocks as from the
// journal.
func TestRestoreUnderMemoryLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("it is short")
	}
	f := func(name string, checkpoint bool) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, a, want := fillLarge(t, dir)
			data := s.Size().Bytes
			if checkpoint {
				ok(t, a.Checkpoint())
			}
			leave(t, a)

			limit := data + 200<<20
			told := inProcess(t, dir, fmt.Sprint("GOMEMLIMIT=", limit))
			t.Logf("%d samples, %d MB of data: restored in %v with %d MB at most", want, data>>20, told.Took.Round(time.Millisecond), told.Peak>>20)
			if told.Samples != want {
				t.Errorf("%d samples came back of %d", told.Samples, want)
			}
			if told.Peak > limit && !raceDetector {
				t.Errorf("it took %d bytes for %d", told.Peak, data)
			}
		})
	}
	f("from blocks", true)
	f("from the journal", false)
}

// To archive takes little memory, however much there is.
func TestCleanupInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it is short")
	}
	dir, to := t.TempDir(), t.TempDir()
	_, a, want := fillLarge(t, dir)
	ok(t, a.Checkpoint())
	leave(t, a)

	told := inProcess(t, dir, moveTo+"="+to)
	files, err := filepath.Glob(filepath.Join(to, "alpha", "*.parquet"))
	ok(t, err)
	var rows int64
	for _, path := range files {
		f, err := os.Open(path)
		ok(t, err)
		info, err := f.Stat()
		ok(t, err)
		p, err := pq.OpenFile(f, info.Size())
		ok(t, err)
		rows += p.NumRows()
		ok(t, f.Close())
	}
	t.Logf("%d samples archived in %v with %d MB more", rows, told.Took.Round(time.Millisecond), told.Peak>>20)
	if rows != want {
		t.Errorf("%d rows in %v, want %d", rows, files, want)
	}
	if told.Peak > 150<<20 && !raceDetector {
		t.Errorf("it took %d bytes more", told.Peak)
	}
}
