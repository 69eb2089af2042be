package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/ringstore/ringstore/scripts/launch"
)

// The metric has a frequency of one second.
const (
	cluster     = "crash"
	metric      = "m"
	checkpoints = "checkpoints" // the directory
)

// server is a running ringstore.
type server struct {
	*launch.Process
	url string
}

// configure writes the configuration and returns the address of the server.
func configure(o options, dir string) (addr string, err error) {
	if addr, err = launch.FreeAddr(); err != nil {
		return "", err
	}
	type object = map[string]any
	kept := object{"directory": "./" + checkpoints}
	if o.sync != "" {
		kept["sync"] = o.sync
	}
	config, err := json.Marshal(object{
		"main":    object{"addr": addr},
		"auth":    object{"disabled": true},
		"metrics": object{metric: object{"frequency": 1, "aggregation": nil}},
		"metric-store": object{
			"retention-in-memory": "48h",
			"checkpoint-interval": o.checkpoint.String(),
			"checkpoints":         kept,
		},
	})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	return addr, err
}

func start(ctx context.Context, o options, dir, addr string) (*server, error) {
	p, err := launch.Serve(ctx, o.program, dir)
	if err != nil {
		return nil, err
	}
	return &server{p, "http://" + addr}, nil
}
