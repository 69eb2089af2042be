package main

import (
	"context"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/rest"
)

// metricsDoor shows the metrics, and nothing else, to whoever reaches its address.
type metricsDoor struct {
	listener net.Listener
	server   *rest.Server
}

// openMetricsDoor takes the port. Requests wait until serve is called.
func openMetricsDoor(addr string, o rest.ServerOptions, registry *prometheus.Registry) (*metricsDoor, error) {
	handler, err := rest.MetricsHandler(registry)
	if err != nil {
		return nil, err
	}
	server, err := rest.NewServer(handler, o)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("main.metrics-addr: %w", err)
	}
	return &metricsDoor{listener, server}, nil
}

// serve returns when the door is closed, or its listener fails.
func (d *metricsDoor) serve() error { return d.server.Serve(d.listener) }

// close lets those finish who are reading, until ctx ends. It also closes a door
// that was not served.
func (d *metricsDoor) close(ctx context.Context) error {
	defer d.listener.Close() // the server does it if it has it
	return d.server.Shutdown(ctx)
}
