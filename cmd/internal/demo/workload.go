package demo

import (
	"math"
	"time"
)

// workload is what a job does: it reads its input, then repeats a cycle of computing and writing.
type workload struct {
	period, output float64 // seconds of a cycle, and of the writing at its end

	// While it computes.
	busy      float64 // share of a thread's time
	flops     float64 // of a thread, per second
	ipc       float64
	bandwidth float64 // of a thread's memory accesses, bytes per second
	memory    float64 // bytes of a thread
	messages  float64 // of a node, bytes per second
	gpu       float64 // utilization of an accelerator

	imbalance float64 // how much less work the last thread has than the first: 0 to 1
}

// The workloads of the jobs. Nothing changes them.
var (
	solver         = workload{period: 300, output: 40, busy: 1, flops: 3.8e9, ipc: 2.1, bandwidth: 4e9, memory: 2.4e9, messages: 1.1e9}
	bandwidthBound = workload{period: 720, output: 30, busy: 1, flops: 0.9e9, ipc: 0.7, bandwidth: 11e9, memory: 5e9, messages: 0.3e9}
	imbalanced     = workload{period: 400, output: 25, busy: 1, flops: 3e9, ipc: 1.7, bandwidth: 3e9, memory: 1.5e9, messages: 0.2e9, imbalance: 0.85}
	training       = workload{period: 240, output: 30, busy: 0.35, flops: 0.2e9, ipc: 1.1, bandwidth: 2e9, memory: 3e9, messages: 0.4e9, gpu: 0.95}
	inference      = workload{period: 90, output: 30, busy: 0.2, flops: 0.1e9, ipc: 0.9, bandwidth: 1e9, memory: 2e9, gpu: 0.55}
)

// activity is how much a job does of what at one moment, each from 0 to 1.
type activity struct{ computing, reading, writing, filled float64 }

const inputTime = 45 // seconds in which a job reads its input

// at returns the activity some seconds after the job's start.
func (w *workload) at(since float64) activity {
	if since < inputTime {
		return activity{computing: 0.08, reading: 1, filled: 0.8 * since / inputTime}
	}
	cycle := math.Mod(since-inputTime, w.period)
	filled := 0.8 + 0.2*cycle/w.period // buffers fill until they are written
	if cycle >= w.period-w.output {
		return activity{computing: 0.1, writing: 1, filled: filled}
	}
	iterations := 0.06 * math.Sin(2*math.Pi*cycle/25)
	return activity{computing: 0.92 + iterations, filled: filled}
}

// share returns how much work a thread has compared with the first.
func (w *workload) share(thread int) float64 {
	return 1 - w.imbalance*float64(thread)/(threads-1)
}

// What breaks in the cluster.
const (
	failingNode     = 12 // is silent for failureLength in every failureInterval
	failureInterval = 40 * time.Minute
	failureLength   = 6 * time.Minute
	firstFailure    = -32 * time.Minute

	deadAccelerator = 1 // of node deadNode, is silent from deadSince on
	deadNode        = 21
	deadSince       = -15 * time.Minute
)

// failed reports whether a node is down at a time relative to the start of the demo.
func failed(node int, at time.Duration) bool {
	if node != failingNode || at < firstFailure {
		return false
	}
	return (at-firstFailure)%failureInterval < failureLength
}

// dead reports whether an accelerator no longer works.
func dead(node, accelerator int, at time.Duration) bool {
	return node == deadNode && accelerator == deadAccelerator && at >= deadSince
}
