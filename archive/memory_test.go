package archive

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/memstore"
)

// restoreOnly is the environment's variable that has the test binary restore a
// directory and tell what that took.
const restoreOnly = "RINGSTORE_TEST_RESTORE"

var restoreSamples = flag.Int("samples", 2_000_000, "to restore in little memory")

// took is what a process tells of its restore.
type took struct {
	Samples int64 // that are there
	Bytes   int64 // of the store, by its books
	Peak    int64 // resident, bytes
	Took    time.Duration
}

func largeStore() (*memstore.Store, error) {
	return memstore.New(memstore.Options{
		Metrics:   []memstore.Metric{{Name: "load", Frequency: time.Minute}},
		Retention: 48 * time.Hour,
		Now:       func() time.Time { return time.Unix(now, 0) },
	})
}

func restoreAndTell(dir string) {
	err := func() error {
		s, err := largeStore()
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
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
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
	samples := *restoreSamples
	if raceDetector {
		samples /= 20 // it is as much slower
	}
	f := func(name string, checkpoint bool) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := largeStore()
			ok(t, err)
			a := open(t, dir, s)
			const steps, series = 1000, 100
			hosts := max(samples/(steps*series), 1)
			r := rand.New(rand.NewPCG(1, 2))
			batch := make([]memstore.Sample, series)
			for step := range steps {
				for h := range hosts {
					for i := range series {
						if batch[i].Series, err = s.Series(memstore.Key{Cluster: "alpha", Host: fmt.Sprint("n", h), Metric: "load", Device: memstore.Device{Type: "hwthread", TypeID: fmt.Sprint(i)}}); err != nil {
							t.Fatal(err)
						}
						batch[i].Time, batch[i].Value = (now-int64(steps-step)*60)*1000, r.NormFloat64()
					}
					_, err := a.Write(t.Context(), batch)
					ok(t, err)
				}
			}
			want, err := s.Values()
			ok(t, err)
			data := s.Size().Bytes
			if checkpoint {
				ok(t, a.Checkpoint())
			}
			ok(t, a.journal.Load().Close())
			ok(t, a.lock.Close())
			a.closed.Store(true)

			limit := data + 200<<20
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), restoreOnly+"="+dir, fmt.Sprint("GOMEMLIMIT=", limit))
			child.Stderr = os.Stderr
			out, err := child.Output()
			ok(t, err)
			var told took
			ok(t, json.Unmarshal(out, &told))
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
