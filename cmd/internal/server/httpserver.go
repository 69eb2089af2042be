package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"

	"github.com/ringstore/ringstore/api/rest"
	"github.com/ringstore/ringstore/auth"
	"github.com/ringstore/ringstore/cmd/internal/setup"
)

// httpServer is a server with its port.
type httpServer struct {
	*rest.Server
	name     string // in log lines and metrics
	listener net.Listener
}

// openHTTP opens the port, which the configuration names with key. Requests wait until serve is
// called.
func openHTTP(name, key, addr string, handler http.HandlerFunc, o rest.ServerOptions) (*httpServer, error) {
	server, err := rest.NewServer(handler, o)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return &httpServer{server, name, listener}, nil
}

func (s *httpServer) addr() string { return s.listener.Addr().String() }

// serve returns when the server is closed, or its listener fails.
func (s *httpServer) serve() error { return s.Serve(s.listener) }

// close lets requests in progress finish until ctx ends. It also works if serve was never called.
func (s *httpServer) close(ctx context.Context) error {
	defer s.listener.Close() // the server closes it only if serve was called
	return s.Shutdown(ctx)
}

// smallServer are the limits of the servers beside the main one, which have few clients. A quarter
// of the connections may be unidentified.
var smallServer = rest.ConnectionLimits{Total: 1024, PerPeer: 128}

// listen opens the ports and reads the certificate, which may need the privileges that are dropped
// afterwards.
func (s *Server) listen() (err error) {
	if err := setup.CheckCertificate(s.cfg); err != nil {
		return err
	}
	o := rest.ServerOptions{
		Certificate: setup.Certificate(s.cfg),
		Log:         s.log,
		RefusedCertificate: func(peer string, code auth.Reason) {
			s.audit.Record(auth.Event{Transport: "http", Peer: peer, Code: code})
		},
		Connections: rest.ConnectionLimits{Total: s.cfg.Limits.Connections, PerPeer: s.cfg.Limits.ConnectionsPerPeer},
	}
	main := func(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }
	if s.main, err = openHTTP("http", "main.addr", s.cfg.Main.Addr, main, o); err != nil {
		return err
	}
	o.Connections = smallServer
	if addr := s.cfg.Main.AdminAddr; addr != "" {
		if s.cfg.Main.IsAdminOnLoopback() {
			o.Certificate = rest.Certificate{}
		}
		admin := func(w http.ResponseWriter, r *http.Request) { s.handler.ServeAdmin(w, r) }
		if s.admin, err = openHTTP("admin", "main.admin-addr", addr, admin, o); err != nil {
			return err
		}
	}
	if addr := s.cfg.Main.MetricsAddr; addr != "" {
		handler, err := rest.MetricsHandler(s.registry)
		if err != nil {
			return err
		}
		o := rest.ServerOptions{Log: s.log, Connections: smallServer}
		if s.metrics, err = openHTTP("metrics", "main.metrics-addr", addr, handler.ServeHTTP, o); err != nil {
			return err
		}
	}
	return nil
}

// serveHTTP starts the servers whose ports listen has opened.
func (s *Server) serveHTTP() {
	s.running.Go(func() { s.ended <- s.main.serve() })
	s.log.Info("listening", "addr", s.main.addr())
	if s.admin != nil {
		s.running.Go(func() { s.ended <- s.admin.serve() })
		s.log.Info("the administrators' paths are served", "addr", s.admin.addr())
	}
	if s.metrics != nil {
		s.running.Go(s.serveMetrics)
		s.log.Info("metrics are shown without a token", "addr", s.metrics.addr())
	}
}

// serveMetrics logs if the metrics server fails; the others go on without it.
func (s *Server) serveMetrics() {
	if err := s.metrics.serve(); err != nil {
		s.log.Error("metrics are no longer shown without a token", "error", err)
	}
}

// httpServers returns the servers whose ports are open.
func (s *Server) httpServers() []*httpServer {
	return slices.DeleteFunc([]*httpServer{s.main, s.admin, s.metrics}, func(server *httpServer) bool { return server == nil })
}

// loadCertificate has the HTTPS servers read their certificate again.
func (s *Server) loadCertificate(c rest.Certificate) error {
	var errs []error
	for _, server := range s.httpServers() {
		if server.IsHTTPS() {
			errs = append(errs, server.LoadCertificate(c))
		}
	}
	return errors.Join(errs...)
}
