package synthetic

import "strconv"

// measured is a metric and the signal of its series.
type measured struct {
	name        string
	aggregation string
	signal
}

// device is a kind of device: the ids that a host has, and the metrics of each.
type device struct {
	kind    string
	ids     []string
	metrics []measured
}

func constant(value float64) signal { return signal{base: value} }
func walk(start float64) signal     { return signal{base: start, walk: 0.5, unit: 100} } // two decimals
func integers(start float64) signal { return signal{base: start, walk: 1000, unit: 1} }  // whole numbers
func noisy(base float64) signal     { return signal{base: base, noise: 0.1} }            // up to 17 digits

func numbered(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids
}

// devices has the devices of a host: 64 x 10 + 16 + 2 x 3 + 4 x 4 = 678 series.
var devices = [...]device{
	{"hwthread", numbered(64), []measured{
		{"cpu_irq", "avg", constant(0)},
		{"cpu_iowait", "avg", constant(0)},
		{"clock_base", "avg", constant(2400)},
		{"cpu_user", "avg", walk(95)},
		{"cpu_system", "avg", walk(1)},
		{"cpi", "avg", walk(2)},
		{"clock", "avg", noisy(2345.6)},
		{"flops_any", "sum", noisy(1100.3)},
		{"ipc", "avg", noisy(1.7)},
		{"mem_bw", "sum", noisy(5.5)},
	}},
	{"node", []string{""}, []measured{
		{"cpu_steal", "", constant(0)},
		{"swap_used", "", constant(0)},
		{"clock_limit", "", constant(2400)},
		{"cpu_load", "", walk(95)},
		{"nfs4_total", "", walk(1)},
		{"lustre_open", "", walk(2)},
		{"net_bytes_in", "", noisy(2345.6)},
		{"net_bytes_out", "", noisy(1100.3)},
		{"file_bw", "", noisy(1.7)},
		{"ib_bw", "", noisy(5.5)},
		{"mem_used", "", integers(1e6)},
		{"mem_cached", "", integers(1e6)},
		{"mem_buffers", "", integers(1e6)},
		{"mem_slab", "", integers(1e6)},
		{"ib_recv_pkts", "", integers(1e6)},
		{"ib_xmit_pkts", "", integers(1e6)},
	}},
	{"socket", numbered(2), []measured{
		{"cpu_temp", "avg", walk(95)},
		{"cpu_power", "sum", noisy(1100.3)},
		{"mem_power", "sum", noisy(5.5)},
	}},
	{"accelerator", []string{"00000000:07:00.0", "00000000:49:00.0", "00000000:88:00.0", "00000000:C8:00.0"}, []measured{
		{"acc_ecc_errors", "sum", constant(0)},
		{"acc_utilization", "avg", walk(95)},
		{"acc_power", "sum", noisy(2345.6)},
		{"acc_mem_used", "sum", integers(1e6)},
	}},
}
