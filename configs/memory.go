package configs

import (
	"bufio"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// MemoryCap returns how much memory the process may use, in bytes: the smaller of
// metric-store.memory-cap (in GB of 10^9 bytes; 0: not set) and 90 % of the limit of the cgroup or
// else of the machine's memory. The result is 0, no cap, if none of these is known. The reason is a
// sentence for the log. MemoryCap reads /proc and the cgroup file system of Linux.
//
// The package memlimit of KimMachineGun/automemlimit is no replacement: it returns an error, and so
// no limit, where the mount does not show the process's cgroup or a line of mountinfo is malformed,
// and it does not say which file a limit is from.
func MemoryCap(configuredGB int) (bytes int64, reason string) {
	return memoryCap(os.DirFS("/"), configuredGB)
}

// DataMemory returns how many bytes of a memory cap samples may use. The rest is for requests and
// the program itself: 256 MB or 10 %, whichever is larger, but at most half of the cap. Without a
// cap (0) there is no limit (0).
func DataMemory(limit int64) int64 {
	return limit - min(max(256e6, limit/10), limit/2)
}

const gb = 1e9

func memoryCap(root fs.FS, configuredGB int) (bytes int64, reason string) {
	configured := int64(min(max(0, configuredGB), maxMemoryCap)) * gb
	physical, source := physicalMemory(root)
	share := physical / 10 * 9
	switch {
	case physical == 0 && configured == 0:
		return 0, "memory is not capped: metric-store.memory-cap is not set, and the machine's memory is unknown"
	case physical == 0:
		return configured, fmt.Sprintf("memory is capped at %s by metric-store.memory-cap; the machine's memory is unknown",
			inGB(configured))
	case configured == 0:
		return share, fmt.Sprintf("memory is capped at %s, 90 %% of %s (%s); metric-store.memory-cap is not set",
			inGB(share), inGB(physical), source)
	case configured <= share:
		return configured, fmt.Sprintf("memory is capped at %s by metric-store.memory-cap, within 90 %% of %s (%s)",
			inGB(configured), inGB(physical), source)
	default:
		return share, fmt.Sprintf("memory is capped at %s, 90 %% of %s (%s); metric-store.memory-cap of %s is more than that",
			inGB(share), inGB(physical), source, inGB(configured))
	}
}

func inGB(bytes int64) string { return strconv.FormatFloat(float64(bytes)/gb, 'f', 1, 64) + " GB" }

// physicalMemory returns the smallest of the machine's memory and the limits of our cgroup and its
// parents; 0 if all are unknown.
func physicalMemory(root fs.FS) (bytes int64, source string) {
	bytes, source = machineMemory(root), "MemTotal of /proc/meminfo"
	for _, file := range limitFiles(root) {
		if limit := cgroupLimit(root, file); limit > 0 && (bytes == 0 || limit < bytes) {
			bytes, source = limit, "/"+file
		}
	}
	return bytes, source
}

// machineMemory reads MemTotal, see proc_meminfo(5). It returns 0 if that fails.
func machineMemory(root fs.FS) int64 {
	for fields := range lines(root, "proc/meminfo") {
		if len(fields) >= 2 && fields[0] == "MemTotal:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			return max(0, min(kib, math.MaxInt64>>10)) << 10
		}
	}
	return 0
}

// cgroupLimit returns 0 if the file is missing, as in the root cgroup of version 2, or contains
// "max".
func cgroupLimit(root fs.FS, file string) int64 {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0
	}
	limit, _ := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	return limit
}

// limitFiles returns the files that may contain a limit for our process: those of its cgroup and of
// all parents, in the hierarchy of version 2 and in that of version 1's memory controller. See
// cgroups(7) and proc_pid_mountinfo(5).
func limitFiles(root fs.FS) []string {
	v1, v2 := ownCgroups(root)
	var files []string
	for fields := range lines(root, "proc/self/mountinfo") {
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+4 {
			continue
		}
		subtree, mountPoint, options := fields[3], fields[4], strings.Split(fields[dash+3], ",")
		switch {
		case fields[dash+1] == "cgroup2":
			files = append(files, upwards(mountPoint, subtree, v2, "memory.max")...)
		case fields[dash+1] == "cgroup" && slices.Contains(options, "memory"):
			files = append(files, upwards(mountPoint, subtree, v1, "memory.limit_in_bytes")...)
		}
	}
	return files
}

// ownCgroups returns the paths of our process's cgroup in both kinds of hierarchy.
func ownCgroups(root fs.FS) (v1, v2 string) {
	v1, v2 = "/", "/"
	for fields := range lines(root, "proc/self/cgroup") {
		parts := strings.SplitN(strings.Join(fields, " "), ":", 3) // hierarchy, controllers, path
		switch {
		case len(parts) < 3:
		case parts[0] == "0" && parts[1] == "":
			v2 = parts[2]
		case slices.Contains(strings.Split(parts[1], ","), "memory"):
			v1 = parts[2]
		}
	}
	return v1, v2
}

// upwards returns the paths of a file in the directory of a cgroup and in all its parents up to the
// mount point, which shows a subtree of the hierarchy. A container that sees only its own subtree
// finds its limit at the mount point.
func upwards(mountPoint, subtree, cgroup, name string) []string {
	below, inside := strings.CutPrefix(path.Clean(cgroup)+"/", strings.TrimSuffix(path.Clean(subtree), "/")+"/")
	if !inside {
		below = ""
	}
	var files []string
	for directory := path.Clean("/" + below); ; directory = path.Dir(directory) {
		files = append(files, strings.TrimPrefix(path.Join(mountPoint, directory, name), "/"))
		if directory == "/" {
			return files
		}
	}
}

// lines yields the fields of each line of a file; nothing if the file cannot be read.
func lines(root fs.FS, name string) iter.Seq[[]string] {
	return func(yield func([]string) bool) {
		f, err := root.Open(name)
		if err != nil {
			return
		}
		defer f.Close()
		for scanner := bufio.NewScanner(f); scanner.Scan(); {
			if !yield(strings.Fields(scanner.Text())) {
				return
			}
		}
	}
}
