package server

import (
	"context"
	"fmt"
	"net"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ringstore/ringstore/api/rest"
)

// metricsServer shows the metrics without a token on an address of its own, and nothing else.
type metricsServer struct {
	listener net.Listener
	server   *rest.Server
}

// openMetricsServer opens the port. Requests wait until serve is called.
func openMetricsServer(addr string, o rest.ServerOptions, registry *prometheus.Registry) (*metricsServer, error) {
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
	return &metricsServer{listener, server}, nil
}

// serve returns when the server is closed, or its listener fails.
func (s *metricsServer) serve() error { return s.server.Serve(s.listener) }

// close lets scrapes in progress finish until ctx ends. It also works if serve was never called.
func (s *metricsServer) close(ctx context.Context) error {
	defer s.listener.Close() // the server closes it only if serve was called
	return s.server.Shutdown(ctx)
}
