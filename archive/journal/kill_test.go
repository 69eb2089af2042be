package journal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Environment variables that make the test binary run as the process to be killed.
const (
	childDir  = "RINGSTORE_JOURNAL_CHILD_DIR"
	childMode = "RINGSTORE_JOURNAL_CHILD_MODE"
	childFrom = "RINGSTORE_JOURNAL_CHILD_FROM"
)

// child appends numbers and prints each acknowledged one, forever.
func child(dir string) {
	mode, err := strconv.ParseInt(os.Getenv(childMode), 10, 64)
	if err != nil {
		panic(err)
	}
	from, err := strconv.Atoi(os.Getenv(childFrom))
	if err != nil {
		panic(err)
	}
	ctx := context.Background()
	j, err := Open(ctx, Options{Dir: dir, Sync: SyncMode(mode), SegmentBytes: 64 << 10})
	if err != nil {
		panic(err)
	}
	const writers = 4
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := from + w; ; i += writers {
				record := fmt.Sprint(i, " ", strings.Repeat("x", i%1000))
				if err := j.Append(ctx, []byte(record)); err != nil {
					panic(err)
				}
				fmt.Println(i)
			}
		})
	}
	wg.Wait()
}

// After kill -9 at any time, every acknowledged record is replayed exactly once.
func TestKillProcess(t *testing.T) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			root := t.TempDir()
			acknowledged := map[int]bool{}
			for round := range 3 {
				for _, id := range killAfter(t, root, m.mode, round*1_000_000, 100+round*150) {
					acknowledged[id] = true
				}
				j := open(t, Options{Dir: root})
				seen := map[int]bool{}
				report, err := j.Replay(t.Context(), 0, func(_ uint64, _ int64, record []byte) error {
					var i int
					var rest string
					if _, err := fmt.Sscan(string(record), &i, &rest); err != nil && i%1000 > 0 || len(rest) != i%1000 || seen[i] {
						return fmt.Errorf("record %q was never sent, or is replayed twice", record)
					}
					seen[i] = true
					return nil
				})
				ok(t, err)
				ok(t, j.Close())
				for i := range acknowledged {
					if !seen[i] {
						t.Fatalf("round %d: record %d was acknowledged and is lost", round, i)
					}
				}
				if report.DamageTotal > 0 {
					t.Errorf("got damage %v", report.Damage)
				}
			}
		})
	}
}

// killAfter runs a child until it has acknowledged n records, kills it, and returns all
// acknowledged records.
func killAfter(t *testing.T, dir string, mode SyncMode, from, n int) []int {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+dir, childMode+"="+fmt.Sprint(int64(mode)), childFrom+"="+fmt.Sprint(from))
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	ok(t, err)
	ok(t, c.Start())
	stuck := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer stuck.Stop()
	var ids []int
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // an unfinished line does not count as acknowledged
		}
		id, err := strconv.Atoi(strings.TrimSpace(line))
		ok(t, err)
		if ids = append(ids, id); len(ids) == n {
			ok(t, c.Process.Kill())
		}
	}
	_ = c.Wait() // killed
	if len(ids) < n {
		t.Fatalf("the child ended after %d of %d records", len(ids), n)
	}
	return ids
}
