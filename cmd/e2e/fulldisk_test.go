package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// smallDisk fills the disk of the checkpoint directory and frees it again.
type smallDisk struct {
	full, room func(p *program)
}

// tmpfs mounts a small disk at the directory, if the test may. Otherwise it returns why not.
func tmpfs(t *testing.T, dir string) (smallDisk, string) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		return smallDisk{}, fmt.Sprint("cannot mount a tmpfs: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ballast := filepath.Join(dir, "ballast")
	return smallDisk{
		full: func(*program) {
			f, err := os.Create(ballast)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			for page := make([]byte, 4096); err == nil; {
				_, err = f.Write(page)
			}
		},
		room: func(*program) {
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
		},
	}, ""
}

// fileSize limits the size of the process's files.
func fileSize(t *testing.T) smallDisk {
	limit := func(p *program, bytes uint64) {
		if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
			t.Fatal(err)
		}
	}
	return smallDisk{
		full: func(p *program) { limit(p, 1) },
		room: func(p *program) { limit(p, unix.RLIM_INFINITY) },
	}
}

// TestFullDisk: writes get 503 with a reason, queries continue, the server recovers by itself when
// there is space, and after a kill -9 all acknowledged samples are there.
func TestFullDisk(t *testing.T) {
	run := func(t *testing.T, s settings, d smallDisk) {
		p := process(t, s)
		begin := now() - 3600
		acked := make(map[int64]float64)
		write := func(n int64) reply {
			at := begin + n
			got := p.send(t, token("api"), "POST", "/api/write/?cluster=alpha", fmt.Sprintf("fast,hostname=n1 value=%d.5 %d", n, at))
			if got.status == 200 {
				acked[at] = float64(n) + 0.5
			}
			return got
		}
		n := int64(0)
		for ; n < 50; n++ {
			if got := write(n); got.status != 200 {
				t.Fatalf("%d %s", got.status, got.body)
			}
		}
		d.full(p)
		var got reply
		cmdtest.Eventually(t, "a refusal", func() bool {
			n++
			got = write(n)
			return got.status != 200
		})
		if got.status != 503 || !strings.Contains(got.body, "error") {
			t.Errorf("a write on a full disk: %d %s", got.status, got.body)
		}
		ready := p.send(t, "", "GET", "/-/ready", "")
		if ready.status != 503 || !strings.Contains(ready.body, "error") {
			t.Errorf("/-/ready: %d %s", ready.status, ready.body)
		}
		if status := askedAs[rest.Status](t, p, "GET", "/api/status"); status.Ready || len(status.Reasons) != 1 || status.Journal.Unavailable == "" {
			t.Errorf("/api/status: %+v", status)
		}
		same := func(p *program) {
			t.Helper()
			stored := p.samples(t, "n1", "fast", begin, begin+n+10)
			for at, v := range acked {
				if stored[at] != v {
					t.Fatalf("at %d: %v, acknowledged was %v", at, stored[at], v)
				}
			}
		}
		same(p)
		d.room(p)
		cmdtest.Eventually(t, "the recovery", func() bool { n++; return write(n).status == 200 })
		p.signal(t, syscall.SIGKILL)
		p.wait(t)
		same(process(t, s))
	}
	t.Run("ENOSPC", func(t *testing.T) {
		s := newSettings(t)
		d, problem := tmpfs(t, filepath.Dir(s.checkpoints()))
		if problem != "" {
			t.Skip(problem)
		}
		run(t, s, d)
	})
	t.Run("EFBIG", func(t *testing.T) { run(t, newSettings(t), fileSize(t)) })
}
