package main

import (
	"fmt"
	"syscall"
	"time"

	influx "github.com/influxdata/line-protocol/v2/lineprotocol"
)

// control measures a workload that does not depend on the version of ringstore: decoding the lines
// of an interval with InfluxDB's library. It makes runs comparable on a machine of varying speed.
type control struct {
	cpu     time.Duration
	samples int
}

const controlTime = 400 * time.Millisecond

// run decodes for controlTime. It is called before and after the load.
func (c *control) run(b *bench) error {
	body := b.renderHost(nil, 0, 0, make([]float64, len(b.cluster.Series())))
	cpu, err := ownCPU()
	if err != nil {
		return err
	}
	for begin := time.Now(); time.Since(begin) < controlTime; {
		n, err := decode(body)
		if err != nil {
			return err
		}
		c.samples += n
	}
	end, err := ownCPU()
	c.cpu += end - cpu
	return err
}

// decode reads all lines completely and returns their number.
func decode(body []byte) (lines int, err error) {
	for d := influx.NewDecoderWithBytes(body); d.Next(); lines++ {
		if _, err := d.Measurement(); err != nil {
			return 0, err
		}
		for key := []byte{0}; key != nil; {
			if key, _, err = d.NextTag(); err != nil {
				return 0, err
			}
		}
		for key := []byte{0}; key != nil; {
			if key, _, err = d.NextField(); err != nil {
				return 0, err
			}
		}
		if _, err := d.Time(influx.Second, time.Time{}); err != nil {
			return 0, err
		}
	}
	return lines, nil
}

// ownCPU returns the CPU time of this process.
func ownCPU() (time.Duration, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), nil
}
