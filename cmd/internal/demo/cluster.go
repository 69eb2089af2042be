package demo

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"time"
)

// The synthetic cluster.
const (
	cluster      = "demo"
	nodes        = 24
	threads      = 16 // of a node
	sockets      = 2  // of a node
	firstGPUNode = 21 // this node and those after it have accelerators
	history      = time.Hour
	interval     = 5 * time.Second // between two samples
)

// acceleratorIDs are the ids of a node's accelerators: their PCI addresses.
var acceleratorIDs = [...]string{"00000000:07:00.0", "00000000:0B:00.0", "00000000:48:00.0", "00000000:4C:00.0"}

// metrics is the section of the configuration.
const metrics = `{
    "cpu_load":        {"frequency": 5, "aggregation": null, "unit": "threads", "help": "Threads that run or wait to run"},
    "mem_used":        {"frequency": 5, "aggregation": null, "unit": "B", "help": "Memory in use"},
    "net_bw":          {"frequency": 5, "aggregation": "sum", "unit": "B/s", "help": "Network traffic, both directions"},
    "fs_read":         {"frequency": 5, "aggregation": "sum", "unit": "B/s", "help": "Read from the parallel file system"},
    "fs_write":        {"frequency": 5, "aggregation": "sum", "unit": "B/s", "help": "Written to the parallel file system"},
    "flops_any":       {"frequency": 5, "aggregation": "sum", "unit": "F/s", "help": "Floating-point operations"},
    "ipc":             {"frequency": 5, "aggregation": "avg", "unit": "1", "help": "Instructions per cycle"},
    "mem_bw":          {"frequency": 5, "aggregation": "sum", "unit": "B/s", "help": "Memory bandwidth"},
    "cpu_power":       {"frequency": 5, "aggregation": "sum", "unit": "W", "help": "Power of the processors"},
    "acc_utilization": {"frequency": 5, "aggregation": "avg", "unit": "%", "help": "Utilization of the accelerator"},
    "acc_mem_used":    {"frequency": 5, "aggregation": "sum", "unit": "B", "help": "Accelerator memory in use"},
    "acc_power":       {"frequency": 5, "aggregation": "sum", "unit": "W", "help": "Power of the accelerator"}
  }`

// nodeName returns the name of a node; 1 is the first.
func nodeName(n int) string { return fmt.Sprintf("node%02d", n) }

// sampler makes the samples of the cluster.
type sampler struct {
	began time.Time // when the demo started
	seed  maphash.Seed
}

// append appends a node's samples of one moment in line protocol; none while the node is down. jobs
// are those of the cluster.
func (s sampler) append(dst []byte, jobs []job, node int, at time.Time) []byte {
	since := at.Sub(s.began)
	if failed(node, since) {
		return dst
	}
	n := nodeState{node: node, since: since}
	for i := range jobs {
		if j := &jobs[i]; j.running(since) && slices.Contains(j.nodes, node) {
			n.add(j)
		}
	}
	b := batch{dst: dst, name: nodeName(node), at: at.Unix(), seed: s.seed}
	n.write(&b)
	return b.dst
}

// nodeState is what a node does at one moment.
type nodeState struct {
	node  int
	since time.Duration // the start of the demo

	load, memory, messages, read, written float64

	busy, flops, bandwidth [threads]float64
	ipc                    [threads]float64
	gpu                    [len(acceleratorIDs)]float64
}

// add adds what a job does on the node.
func (n *nodeState) add(j *job) {
	w := &j.workload
	a := w.at((n.since - j.start).Seconds())
	for t := range threads {
		if !j.has(t) {
			continue
		}
		computing := a.computing * w.share(t)
		n.busy[t] = w.busy * max(computing, 0.15)
		n.flops[t] = w.flops * computing
		n.bandwidth[t] = w.bandwidth * computing
		n.ipc[t] = 0.3 + (w.ipc-0.3)*computing
		n.load += w.busy * max(a.computing, 0.3)
		n.memory += w.memory * a.filled
	}
	for g := range n.gpu {
		if !j.shared() || slices.Contains(j.accelerators, g) {
			n.gpu[g] = w.gpu * a.computing
		}
	}
	n.messages += w.messages * a.computing
	n.read += 1.4e9 * a.reading
	n.written += 0.9e9 * a.writing
}

func (n *nodeState) write(b *batch) {
	const perSocket = threads / sockets
	b.add("cpu_load", ",type=node", 0.02+n.load, 0.02)
	b.add("mem_used", ",type=node", 5.5e9+n.memory, 0.002)
	b.add("net_bw", ",type=node,stype=network,stype-id=ib0", 2e4+n.messages, 0.08)
	b.add("fs_read", ",type=node,stype=filesystem,stype-id=scratch", 1e3+n.read, 0.15)
	b.add("fs_write", ",type=node,stype=filesystem,stype-id=scratch", 2e3+n.written, 0.15)
	for t := range threads {
		id := strconv.Itoa(t)
		b.add("flops_any", ",type=hwthread,type-id="+id, 1e5+n.flops[t], 0.03)
		b.add("ipc", ",type=hwthread,type-id="+id, max(n.ipc[t], 0.35), 0.03)
	}
	for s := range sockets {
		busy, bandwidth := 0.0, 0.0
		for t := s * perSocket; t < (s+1)*perSocket; t++ {
			busy += n.busy[t]
			bandwidth += n.bandwidth[t]
		}
		id := strconv.Itoa(s)
		b.add("mem_bw", ",type=socket,type-id="+id, 4e7+bandwidth, 0.03)
		b.add("cpu_power", ",type=socket,type-id="+id, 48+17*busy+0.4e-9*bandwidth, 0.015)
	}
	if n.node < firstGPUNode {
		return
	}
	for g, id := range acceleratorIDs {
		if dead(n.node, g, n.since) {
			continue
		}
		device, used := ",type=accelerator,type-id="+id, 0.0
		if n.gpu[g] > 0 {
			used = 31e9
		}
		b.add("acc_utilization", device, min(100*n.gpu[g], 100), 0.02)
		b.add("acc_mem_used", device, 4e8+used, 0.001)
		b.add("acc_power", device, 58+320*n.gpu[g], 0.02)
	}
}

// batch is line protocol of one node at one moment.
type batch struct {
	dst  []byte
	name string // of the node
	at   int64  // Unix seconds
	seed maphash.Seed
}

// add adds a sample of a metric and device. The value varies by up to a share of it.
func (b *batch) add(metric, device string, value, share float64) {
	varied := value * (1 + share*b.noise(metric, device))
	b.dst = append(b.dst, metric...)
	b.dst = append(b.dst, ",cluster="+cluster+",hostname="...)
	b.dst = append(b.dst, b.name...)
	b.dst = append(b.dst, device...)
	b.dst = append(b.dst, " value="...)
	b.dst = strconv.AppendFloat(b.dst, varied, 'g', 5, 64)
	b.dst = append(b.dst, ' ')
	b.dst = strconv.AppendInt(b.dst, b.at, 10)
	b.dst = append(b.dst, '\n')
}

// noise returns a number from -1 to 1 that depends on the series and the time.
func (b *batch) noise(metric, device string) float64 {
	var h maphash.Hash
	h.SetSeed(b.seed)
	maphash.WriteComparable(&h, b.at)
	_, _ = h.WriteString(b.name)
	_, _ = h.WriteString(metric)
	_, _ = h.WriteString(device)
	return 2*float64(h.Sum64())/math.MaxUint64 - 1
}
