package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringstore/ringstore/api/rest"
)

// metricsTime is how long somebody may take to read the metrics, and
// metricsReaders how many may do so at once.
const (
	metricsTime    = 30 * time.Second
	metricsReaders = 8
)

// metricsDoor shows the metrics, and nothing else, to whoever reaches its address.
type metricsDoor struct {
	listener net.Listener
	server   *rest.Server
}

// openMetricsDoor takes the port. Requests wait until serve is called.
func openMetricsDoor(addr string, o rest.ServerOptions, registry *prometheus.Registry) (*metricsDoor, error) {
	server, err := rest.NewServer(metricsHandler(registry), o)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("main.metrics-addr: %w", err)
	}
	return &metricsDoor{listener, server}, nil
}

func metricsHandler(registry *prometheus.Registry) http.Handler {
	show := promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: metricsReaders})
	mux := http.NewServeMux()
	for _, path := range [...]string{"/metrics", "/metrics/{$}"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			deadline := time.Now().Add(metricsTime)
			_ = control.SetReadDeadline(deadline) // a connection has both
			_ = control.SetWriteDeadline(deadline)
			show.ServeHTTP(w, r)
		})
	}
	return mux
}

// serve returns when the door is closed, or its listener fails.
func (d *metricsDoor) serve() error { return d.server.Serve(d.listener) }

// close lets those finish who are reading, until ctx ends. It also closes a door
// that was not served.
func (d *metricsDoor) close(ctx context.Context) error {
	defer d.listener.Close() // the server does it if it has it
	return d.server.Shutdown(ctx)
}
