package main

import (
	"fmt"
	"time"
)

// generator returns the lines of request n, or of its successors: each is called once, possibly
// concurrently. now is the time of the start.
type generator func(n int, now time.Time) []byte

// loads are the shapes of data that fill memory, by name. No sample is older than the retention, so
// that only memory limits what stays.
var loads = map[string]generator{
	"churn": churn,
	"hosts": floodOfHosts,
	"heads": fullHeads,
	"names": unknownNames,
}

// churn sends the same few hosts a minute at a time, each with devices that are new in that minute.
func churn(n int, now time.Time) []byte {
	const hosts, devices, minutes = 8, 50, 2800
	minute, host := n/hosts%minutes, n%hosts
	round := n / hosts / minutes
	at := now.Add(time.Duration(minute-minutes) * time.Minute).Unix()
	var b []byte
	for d := range devices {
		for m := range metrics {
			b = fmt.Appendf(b, "m%d,cluster=a,hostname=n%d,type=accelerator,type-id=job-%d-%d-%d value=%d.%d %d\n",
				m, host, round, minute, d, n, d*7919, at)
		}
	}
	return b
}

// floodOfHosts sends one sample for each of many hosts.
func floodOfHosts(n int, now time.Time) []byte {
	const hosts = 500
	var b []byte
	for h := range hosts {
		b = fmt.Appendf(b, "m0,cluster=a,hostname=node-%d-%d value=1 %d\n", n, h, now.Unix())
	}
	return b
}

// fullHeads fills the newest window of each host, which cannot be evicted. The last device alone
// makes each row as wide as all devices.
func fullHeads(n int, now time.Time) []byte {
	const devices, minutes = 2000, 60
	var b []byte
	for minute := range minutes {
		at := now.Add(time.Duration(minute-minutes) * time.Minute).Unix()
		for d := range devices {
			if minute == 0 || d == devices-1 {
				b = fmt.Appendf(b, "m0,cluster=a,hostname=n%d,type=hwthread,type-id=%d value=%d.%d %d\n", n, d, minute, d*7919, at)
			}
		}
	}
	return b
}

// unknownNames sends metrics that are not configured, and hosts of which all samples are too old.
func unknownNames(n int, now time.Time) []byte {
	const names = 1000
	old := now.Add(-365 * 24 * time.Hour).Unix()
	var b []byte
	for i := range names {
		b = fmt.Appendf(b, "unknown-%d-%d,cluster=a,hostname=n value=1 %d\n", n, i, now.Unix())
		b = fmt.Appendf(b, "m0,cluster=a,hostname=old-%d-%d value=1 %d\n", n, i, old)
	}
	return b
}
