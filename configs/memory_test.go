package configs

import (
	"testing"
	"testing/fstest"
)

func TestMemoryCap(t *testing.T) {
	f := func(configuredGB int, files map[string]string, wantBytes int64, wantReason string) {
		t.Helper()
		root := fstest.MapFS{}
		for name, content := range files {
			root[name] = &fstest.MapFile{Data: []byte(content)}
		}
		bytes, reason := memoryCap(root, configuredGB)
		if bytes != wantBytes || reason != wantReason {
			t.Errorf("\n got %d, %s\nwant %d, %s", bytes, reason, wantBytes, wantReason)
		}
	}
	const (
		meminfo  = "MemTotal:       20000000 kB\nMemFree:         1000000 kB\n" // 20.48 GB
		mountsV2 = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
		mountsV1 = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
		service  = "0::/system.slice/ringstore.service\n"
		under    = "sys/fs/cgroup/system.slice/"
	)

	f(0, nil, 0, "memory is not capped: metric-store.memory-cap is not set, and the machine's memory is unknown")
	f(10, nil, 10e9, "memory is capped at 10.0 GB by metric-store.memory-cap; the machine's memory is unknown")
	f(10, map[string]string{"proc/meminfo": "MemTotal: much\n"}, 10e9,
		"memory is capped at 10.0 GB by metric-store.memory-cap; the machine's memory is unknown")
	f(0, map[string]string{"proc/meminfo": meminfo}, 18_432_000_000,
		"memory is capped at 18.4 GB, 90 % of 20.5 GB (MemTotal of /proc/meminfo); metric-store.memory-cap is not set")
	f(-1, map[string]string{"proc/meminfo": meminfo}, 18_432_000_000,
		"memory is capped at 18.4 GB, 90 % of 20.5 GB (MemTotal of /proc/meminfo); metric-store.memory-cap is not set")
	f(10, map[string]string{"proc/meminfo": meminfo}, 10e9,
		"memory is capped at 10.0 GB by metric-store.memory-cap, within 90 % of 20.5 GB (MemTotal of /proc/meminfo)")
	f(1<<62, map[string]string{"proc/meminfo": meminfo}, 18_432_000_000,
		"memory is capped at 18.4 GB, 90 % of 20.5 GB (MemTotal of /proc/meminfo); metric-store.memory-cap of 1000000.0 GB is more than that")

	// Version 2: our own cgroup, its parents, and the smallest limit; "max" and a missing file are no
	// limit.
	v2 := func(own, slice string) map[string]string {
		return map[string]string{
			"proc/meminfo": meminfo, "proc/self/mountinfo": mountsV2, "proc/self/cgroup": service,
			under + "memory.max": slice, under + "ringstore.service/memory.max": own,
		}
	}
	f(0, v2("max\n", "max\n"), 18_432_000_000,
		"memory is capped at 18.4 GB, 90 % of 20.5 GB (MemTotal of /proc/meminfo); metric-store.memory-cap is not set")
	f(0, v2("4000000000\n", "max\n"), 3_600_000_000,
		"memory is capped at 3.6 GB, 90 % of 4.0 GB (/sys/fs/cgroup/system.slice/ringstore.service/memory.max); metric-store.memory-cap is not set")
	f(100, v2("4000000000\n", "2000000000\n"), 1_800_000_000,
		"memory is capped at 1.8 GB, 90 % of 2.0 GB (/sys/fs/cgroup/system.slice/memory.max); metric-store.memory-cap of 100.0 GB is more than that")
	f(1, v2("4000000000\n", "2000000000\n"), 1e9,
		"memory is capped at 1.0 GB by metric-store.memory-cap, within 90 % of 2.0 GB (/sys/fs/cgroup/system.slice/memory.max)")

	// A container whose mount shows only its own cgroup.
	f(0, map[string]string{
		"proc/meminfo": meminfo, "proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mountsV2, "sys/fs/cgroup/memory.max": "1000000000\n",
	}, 900_000_000, "memory is capped at 0.9 GB, 90 % of 1.0 GB (/sys/fs/cgroup/memory.max); metric-store.memory-cap is not set")

	// Version 1, where the largest number means no limit, also in a container that sees the host's
	// paths but its own mount.
	f(0, map[string]string{
		"proc/meminfo": meminfo, "proc/self/mountinfo": mountsV1, "proc/self/cgroup": "5:cpu:/a\n4:hugetlb,memory:/b/c\n0::/\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n", "sys/fs/cgroup/memory/b/c/memory.limit_in_bytes": "3000000000\n",
	}, 2_700_000_000, "memory is capped at 2.7 GB, 90 % of 3.0 GB (/sys/fs/cgroup/memory/b/c/memory.limit_in_bytes); metric-store.memory-cap is not set")
	f(0, map[string]string{
		"proc/meminfo": meminfo, "proc/self/cgroup": "4:memory:/docker/0123\n",
		"proc/self/mountinfo":                        "35 31 0:32 /docker/0123 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\nnonsense\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000000\n",
	}, 2_700_000_000, "memory is capped at 2.7 GB, 90 % of 3.0 GB (/sys/fs/cgroup/memory/memory.limit_in_bytes); metric-store.memory-cap is not set")

	// A cgroup that the mount does not show.
	f(0, map[string]string{
		"proc/meminfo": meminfo, "proc/self/cgroup": "0::/../../elsewhere\n", "proc/self/mountinfo": mountsV2, "sys/fs/cgroup/memory.max": "1000000000\n",
	}, 900_000_000, "memory is capped at 0.9 GB, 90 % of 1.0 GB (/sys/fs/cgroup/memory.max); metric-store.memory-cap is not set")
}

func TestDataMemory(t *testing.T) {
	f := func(limit, want int64) {
		t.Helper()
		if got := DataMemory(limit); got != want {
			t.Errorf("of %d: %d, want %d", limit, got, want)
		}
	}
	f(0, 0)
	f(100e6, 50e6)
	f(512e6, 256e6)
	f(1e9, 744e6)
	f(2_560_000_000, 2_304_000_000)
	f(24e9, 21_600_000_000)
}
