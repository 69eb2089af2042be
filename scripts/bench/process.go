package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ringstore/ringstore/scripts/launch"
)

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every architecture that Go runs
// on.
const tick = 10 * time.Millisecond

// cpuTime returns the CPU time of a process in user and kernel mode; see proc_pid_stat(5), fields
// utime and stime.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	name := bytes.LastIndexByte(stat, ')')          // may contain spaces
	fields := strings.Fields(string(stat[name+1:])) // from field 3 on
	const utime, stime = 14 - 3, 15 - 3
	if len(fields) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat: expected more than %d fields, got %d", pid, stime, len(fields))
	}
	user, err1 := strconv.ParseInt(fields[utime], 10, 64)
	kernel, err2 := strconv.ParseInt(fields[stime], 10, 64)
	return time.Duration(user+kernel) * tick, errors.Join(err1, err2)
}

// residentMemory returns VmRSS of proc_pid_status(5) in bytes.
func residentMemory(pid int) (int64, error) { return launch.ResidentMemory(pid) }

// peakMemory returns the peak of the resident memory since resetPeakMemory, VmHWM, in bytes.
func peakMemory(pid int) (int64, error) { return launch.Memory(pid, "VmHWM:") }

// resetPeakMemory resets the peak of peakMemory; see proc_pid_clear_refs(5).
func resetPeakMemory(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

// diskUsage returns the total size of all files below a directory in bytes.
func diskUsage(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
