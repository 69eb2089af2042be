package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/ringstore/ringstore/scripts/launch"
)

// The metric has a frequency of one second. The frequency of the other metric, which is written to
// the same hosts, changes between rounds: the compared metric must not notice it.
const (
	cluster     = "crash"
	metric      = "m"
	other       = "p"
	checkpoints = "checkpoints" // the directory
)

// server is a running ringstore.
type server struct {
	*launch.Process
	url string
}

// configure writes the configuration for a server at addr. The frequency of the other metric is in
// seconds.
func configure(o options, dir, addr string, frequency int) error {
	type object = map[string]any
	kept := object{"directory": "./" + checkpoints}
	if o.sync != "" {
		kept["sync"] = o.sync
	}
	config, err := json.Marshal(object{
		"main": object{"addr": addr},
		"auth": object{"disabled": true},
		"metrics": object{
			metric: object{"frequency": 1, "aggregation": nil},
			other:  object{"frequency": frequency, "aggregation": nil},
		},
		"metric-store": object{
			"retention-in-memory": "48h",
			"checkpoint-interval": o.checkpoint.String(),
			"checkpoints":         kept,
		},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	return err
}

func start(ctx context.Context, o options, dir, addr string) (*server, error) {
	p, err := launch.Serve(ctx, o.program, dir)
	if err != nil {
		return nil, err
	}
	return &server{p, "http://" + addr}, nil
}
