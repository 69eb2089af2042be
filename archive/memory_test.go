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

// restoreOnly is the environment variable that makes the test binary restore a directory and print
// a measurement.
const restoreOnly = "RINGSTORE_TEST_RESTORE"

var restoreSamples = flag.Int("samples", 2_000_000, "to restore, and to archive, in little memory")

// moveTo is the environment variable that makes it archive that directory as Parquet files in
// another one instead.
const moveTo = "RINGSTORE_TEST_MOVE"

// measurement is the output of a child process.
type measurement struct {
	Samples int64 // restored
	Bytes   int64 // of the store, by its memory accounting
	Peak    int64 // of resident memory, bytes
	Took    time.Duration
}

func largeStore(at int64) (*memstore.Store, error) {
	return memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention: 48 * time.Hour,
		Now:       func() time.Time { return time.Unix(at, 0) },

		KeepUnstored: true, // required by the test with a Parquet archive
	})
}

// fillLarge creates an archive of about -samples samples, in complete hosts, and returns their
// number.
func fillLarge(t *testing.T, dir string) (*memstore.Store, *Archive, int64) {
	t.Helper()
	samples := *restoreSamples
	if raceDetector {
		samples /= 20 // the race detector is about 20 times slower
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

// kill ends an archive as a kill of the process would.
func kill(t *testing.T, a *Archive) {
	t.Helper()
	ok(t, a.journal.Load().Close())
	ok(t, a.lock.Close())
	a.closed.Store(true)
}

// runChild runs this test binary as a child process on a directory, and returns its measurement.
func runChild(t *testing.T, dir string, env ...string) (m measurement) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(append(os.Environ(), restoreOnly+"="+dir), env...)
	child.Stderr = os.Stderr
	out, err := child.Output()
	ok(t, err)
	ok(t, json.Unmarshal(out, &m))
	return m
}

// restoreChild restores a directory and prints a measurement.
func restoreChild(dir string) error {
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
	m := measurement{Took: time.Since(begin), Bytes: s.Size().Bytes}
	if m.Peak, err = peakMemory(); err != nil {
		return err
	}
	if m.Samples, err = s.Values(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// archiveChild archives the contents of a directory, a week later, and prints by how much that
// raised the peak of resident memory.
func archiveChild(dir, to string) error {
	const later = now + 7*24*60*60
	s, err := largeStore(later)
	if err != nil {
		return err
	}
	p, err := parquet.Open(disk.OS{}, to, parquet.Compatible)
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
	m := measurement{Took: time.Since(begin)}
	after, err := peakMemory()
	m.Peak = after - before
	return errors.Join(err, json.NewEncoder(os.Stdout).Encode(m))
}

// peakMemory returns VmHWM of proc_pid_status(5), in bytes.
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

// A restore, from blocks or from the journal, needs little memory beyond that of the restored data.
func TestRestoreUnderMemoryLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	f := func(name string, checkpoint bool) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, a, want := fillLarge(t, dir)
			data := s.Size().Bytes
			if checkpoint {
				ok(t, a.Checkpoint())
			}
			kill(t, a)

			limit := data + 200<<20
			got := runChild(t, dir, fmt.Sprint("GOMEMLIMIT=", limit))
			t.Logf("%d samples, %d MB of data: restored in %v with %d MB at most", want, data>>20, got.Took.Round(time.Millisecond), got.Peak>>20)
			if got.Samples != want {
				t.Errorf("%d samples restored, want %d", got.Samples, want)
			}
			if got.Peak > limit && !raceDetector {
				t.Errorf("%d bytes of memory for %d bytes of data, want at most %d", got.Peak, data, limit)
			}
		})
	}
	f("from blocks", true)
	f("from the journal", false)
}

// Archiving needs little memory, regardless of the amount of data.
func TestCleanupInLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	dir, to := t.TempDir(), t.TempDir()
	_, a, want := fillLarge(t, dir)
	ok(t, a.Checkpoint())
	kill(t, a)

	got := runChild(t, dir, moveTo+"="+to)
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
	t.Logf("%d samples archived in %v with %d MB more", rows, got.Took.Round(time.Millisecond), got.Peak>>20)
	if rows != want {
		t.Errorf("%d rows in %v, want %d", rows, files, want)
	}
	if got.Peak > 150<<20 && !raceDetector {
		t.Errorf("%d bytes of memory, want at most 150 MiB", got.Peak)
	}
}
