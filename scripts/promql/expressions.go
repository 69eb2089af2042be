package main

import (
	"fmt"
	"strings"
)

// expressions returns expressions over all functions, aggregations and modifiers; at is a time for
// the modifier @, in Unix seconds.
func expressions(at int64) (all []string) {
	for _, v := range []string{`load`, `flops_any`, `ipc{cluster="c1"}`, `flops_any{hostname=~"n1|n2"}`, `ib_recv_total{stype_id!="mlx5_0"}`, `load{stype=""}`} {
		all = append(all, v, v+` offset 7m`, v+` offset -3m`, fmt.Sprintf(`%s @ %d`, v, at), v+` @ start()`, `-`+v)
		for _, f := range strings.Fields(`abs ceil exp ln sqrt sgn sin round timestamp absent hour minute sort count sum avg min max stddev stdvar group`) {
			all = append(all, f+`(`+v+`)`)
		}
		for _, f := range strings.Fields(`rate irate increase delta idelta deriv changes resets avg_over_time min_over_time max_over_time sum_over_time
			count_over_time last_over_time present_over_time stddev_over_time stdvar_over_time absent_over_time`) {
			all = append(all, f+`(`+v+`[5m])`, f+`(`+v+`[1h] offset 10m)`)
		}
		all = append(all,
			`quantile_over_time(0.9, `+v+`[20m])`, `predict_linear(`+v+`[30m], 600)`, `clamp(`+v+`, -10, 10)`, `sum by (hostname) (`+v+`)`,
			`avg without (type_id) (`+v+`)`, `quantile(0.3, `+v+`)`, `count_values("v", round(`+v+`))`, `topk(2, `+v+`)`, `bottomk(1, `+v+`)`,
			`sum by (cluster, hostname) (rate(`+v+`[5m]))`, v+` > 0`, v+` >bool 0`, v+` + 1`, v+` % 7`, v+` or load`, v+` unless `+v+` < 0`,
			`max_over_time(rate(`+v+`[5m])[30m:2m])`, `avg_over_time((`+v+` > 0)[20m:1m])`, `scalar(sum(`+v+`))`, `limitk(1, `+v+`)`,
			`label_replace(`+v+`, "node", "$1", "hostname", "n(.*)")`,
		)
	}
	return append(all,
		`sum by (cluster, hostname) (flops_any) / on (cluster, hostname) group_left (type) load{stype=""}`,
		`flops_any + ignoring (type_id) group_left sum without (type_id) (flops_any)`, `1+1`, `time()`, `vector(1)`, `absent(nothing)`,
		`load{`, `rate(load)`, `load + on (hostname) ipc`, `count({__name__=~"load|ipc"})`, `{hostname="n1",__name__!~"node:.*"}`,
	)
}
