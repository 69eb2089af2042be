package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

const (
	// defaultDrainTime is how long requests and messages in flight may take after a stop has begun.
	defaultDrainTime = 20 * time.Second
	// stopTime is how long a stop may take in all. It is less than the systemd unit's
	// TimeoutStopSec.
	stopTime = 100 * time.Second
)

// Run runs a server until ctx ends or its HTTP server fails. It reads the configuration file again
// for each value from reload, which may be nil.
func Run(ctx context.Context, o Options, reload <-chan os.Signal, file string) error {
	s, err := Start(ctx, o)
	if err != nil && ctx.Err() != nil {
		o.Log.Info("stopped while starting")
		return nil
	}
	if err != nil {
		return err
	}
	err = s.Wait(ctx, reload, file)
	o.Log.Info("stopping")
	if stopErr := s.Stop(); stopErr != nil {
		return stopErr
	}
	return err
}

// Wait returns when ctx ends, or with an error when the HTTP server ends. For each value from
// reload, which may be nil, it reads the configuration file again.
func (s *Server) Wait(ctx context.Context, reload <-chan os.Signal, file string) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.ended:
			return fmt.Errorf("the HTTP server ended: %w", err)
		case <-reload:
			s.reload(ctx, file)
		}
	}
}

// Stop closes the listeners, lets requests and messages in flight finish, and writes the last
// checkpoint. It returns an error when this takes too long: the process should then end.
func (s *Server) Stop() error {
	return stopWithin(stopTime, s.stop)
}

// stop stops all parts that were started.
func (s *Server) stop() error {
	serviceManager{s.log}.notify(daemon.SdNotifyStopping)
	ctx, cancel := context.WithTimeout(context.Background(), s.drainTime)
	defer cancel()
	drained := func(transport string, err error) error {
		if errors.Is(err, context.DeadlineExceeded) {
			// It was not acknowledged, and a client that stalls must not make the stop fail.
			s.log.Warn("requests in flight were cancelled", "transport", transport, "after", s.drainTime)
			return nil
		}
		return err
	}
	servers := s.httpServers()
	closed := make([]error, len(servers)+1)
	var transports sync.WaitGroup
	if s.nats != nil {
		transports.Go(func() { closed[len(servers)] = drained("nats", s.nats.Close(ctx)) })
	}
	for i, server := range servers {
		transports.Go(func() { closed[i] = drained(server.name, server.close(ctx)) })
	}
	transports.Wait()
	s.cancel()
	s.running.Wait()
	errs := closed
	if s.keyring != nil {
		errs = append(errs, s.keyring.Close())
	}
	if s.certificate != nil {
		errs = append(errs, s.certificate.Close())
	}
	errs = append(errs, s.jobs.close())
	if s.archive != nil {
		errs = append(errs, s.archive.Close())
	}
	if s.audit != nil {
		errs = append(errs, s.audit.Close())
	}
	if s.auditLog != nil {
		errs = append(errs, s.auditLog.Close())
	}
	return errors.Join(errs...)
}

// stopWithin runs stop for at most limit, so that a hung disk does not keep the process running.
// The goroutine that still waits for the disk ends with the process.
func stopWithin(limit time.Duration, stop func() error) error {
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	select {
	case err := <-stopped:
		return err
	case <-time.After(limit):
		return fmt.Errorf("stopping takes longer than %v and is aborted; all acknowledged samples are in the journal", limit)
	}
}
