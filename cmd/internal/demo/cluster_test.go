package demo

import (
	"context"
	"errors"
	"hash/maphash"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testBegan = time.Unix(1_800_000_000, 0)

// samplesOf returns the values of a node's series some time after the start of the demo.
func samplesOf(t *testing.T, node int, since time.Duration) map[string]float64 {
	t.Helper()
	s := sampler{testBegan, maphash.MakeSeed()}
	samples := map[string]float64{}
	for line := range strings.Lines(string(s.append(nil, jobsUntil(since), node, testBegan.Add(since)))) {
		fields := strings.Fields(line)
		value, err := strconv.ParseFloat(strings.TrimPrefix(fields[1], "value="), 64)
		if err != nil || fields[2] != strconv.FormatInt(testBegan.Add(since).Unix(), 10) {
			t.Fatalf("%q: %v", line, err)
		}
		samples[strings.ReplaceAll(fields[0], ",cluster=demo,hostname="+nodeName(node), "")] = value
	}
	return samples
}

// TestCurves: the nodes do what their jobs do, and break as they should.
func TestCurves(t *testing.T) {
	f := func(node int, since time.Duration, series string, low, high float64) {
		t.Helper()
		if got, ok := samplesOf(t, node, since)[series]; !ok || got < low || got > high {
			t.Errorf("%s at %v: %s is %v (%v), want %v to %v", nodeName(node), since, series, got, ok, low, high)
		}
	}
	const load, written = "cpu_load,type=node", "fs_write,type=node,stype=filesystem,stype-id=scratch"
	f(19, 0, load, 0, 0.1) // it has no jobs
	f(19, 0, "cpu_power,type=socket,type-id=0", 40, 60)
	f(5, -10*time.Minute, load, 13, 17)
	f(5, -10*time.Minute, written, 0, 1e5)
	output := -20*time.Minute + (inputTime+solverOutput)*time.Second
	f(5, output, written, 5e8, 2e9)
	f(5, output, "flops_any,type=hwthread,type-id=15", 0, 1e9)
	f(3, -30*time.Minute, load, 13, 17) // ann's job, which ends
	f(3, -20*time.Minute, load, 0, 0.1)
	f(17, -10*time.Minute, "flops_any,type=hwthread,type-id=0", 2e9, 4e9) // imbalanced
	f(17, -10*time.Minute, "flops_any,type=hwthread,type-id=15", 1e8, 1e9)
	const good, broken = "acc_utilization,type=accelerator,type-id=00000000:07:00.0", "acc_utilization,type=accelerator,type-id=00000000:0B:00.0"
	f(deadNode, deadSince-time.Minute, broken, 80, 100)
	f(deadNode, 0, good, 15, 100)
	for _, since := range []time.Duration{deadSince, 0, 9 * time.Hour} {
		if v, ok := samplesOf(t, deadNode, since)[broken]; ok {
			t.Errorf("the dead accelerator writes %v at %v", v, since)
		}
	}
	for since, silent := range map[time.Duration]bool{
		-history: false, firstFailure - time.Second: false, firstFailure: true, firstFailure + failureLength: false,
		0: false, firstFailure + 2*failureInterval: true,
	} {
		if n := len(samplesOf(t, failingNode, since)); (n == 0) != silent {
			t.Errorf("%d samples of the failing node at %v", n, since)
		}
	}
	for node := 1; node <= nodes; node++ {
		if _, ok := samplesOf(t, node, 0)[load]; !ok {
			t.Errorf("%s is silent at the start", nodeName(node))
		}
	}
}

// solverOutput is a second at which a solver writes, after its input.
const solverOutput = 300 - 20

// TestJobsShareNothingThatIsWhole: at no time two jobs have the same thread.
func TestJobsShareNothingThatIsWhole(t *testing.T) {
	for since := -history; since < 3*history; since += time.Minute {
		owner := map[[2]int]int64{}
		for _, j := range jobsUntil(since) {
			for thread := range threads {
				for _, n := range j.nodes {
					if key := [2]int{n, thread}; j.running(since) && j.has(thread) {
						if owner[key] != 0 {
							t.Fatalf("jobs %d and %d have thread %d of %s at %v", owner[key], j.id, thread, nodeName(n), since)
						}
						owner[key] = j.id
					}
				}
			}
		}
	}
}

// TestEvents: each start and end is reported once, whatever the steps are.
func TestEvents(t *testing.T) {
	until := 35 * time.Minute
	whole := string(appendEvents(nil, testBegan, -history-time.Second, until))
	steps := ""
	for at := -history - time.Second; at < until; {
		next := min(at+7*time.Second, until)
		steps += string(appendEvents(nil, testBegan, at, next))
		at = next
	}
	count := func(text, what string) int { return strings.Count(text, what) }
	if n := count(whole, "start_job"); n != 19 || count(steps, "start_job") != n || count(whole, "stop_job") != 10 || count(steps, "stop_job") != 10 {
		t.Errorf("at once:\n%s\nin steps:\n%s", whole, steps)
	}
	for _, want := range []string{`\"jobId\":1005`, `\"shared\":\"multi_user\"`, `\"hwthreads\":[0,1,2,3,4,5,6,7]`, `\"accelerators\":[\"00000000:07:00.0\"`} {
		if !strings.Contains(whole, want) {
			t.Errorf("no %s in\n%s", want, whole)
		}
	}
}

// TestEvery: each function is called at each interval, errors do not end it, and a pause of the
// machine is skipped.
func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now().Truncate(interval)
		var at []time.Duration
		warned := 0
		every(ctx, began, func(error) { warned++ }, func(now time.Time) error {
			at = append(at, now.Sub(began))
			if len(at) == 2 {
				time.Sleep(10*interval + time.Second)
			}
			if len(at) == 4 {
				cancel()
			}
			return errors.New("x")
		})
		if len(at) != 4 || at[0] != 0 || at[1] != interval || at[2] != 11*interval || at[3] != 12*interval || warned != 3 {
			t.Errorf("called at %v, %d warnings", at, warned)
		}
	})
}
