package launch

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// ResidentMemory returns VmRSS of proc_pid_status(5) in bytes.
func ResidentMemory(pid int) (int64, error) { return Memory(pid, "VmRSS:") }

// Memory returns a field of proc_pid_status(5) in bytes.
func Memory(pid int, field string) (int64, error) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	status, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == field {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no %s", name, field)
}
