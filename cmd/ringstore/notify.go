package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// While it starts, the service asks the service manager every extendEvery for
// startExtension more: one that is alive and restores for hours is left alone,
// one that hangs is not.
const (
	extendEvery    = 10 * time.Second
	startExtension = time.Minute
)

// moreTime asks for startExtension.
var moreTime = fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=Restoring", startExtension.Microseconds())

// supervisor is who started the service and wants to hear of it: sd_notify(3).
// Where there is none, nothing is told.
type supervisor struct{ log *slog.Logger }

// tell sends a state, such as READY=1. What cannot be told does not stop us.
func (v supervisor) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		v.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}

// ready tells that the service is up, or up to date.
func (v supervisor) ready() { v.tell(daemon.SdNotifyReady + "\nSTATUS=Ready") }

// reloading tells that the configuration is read anew, and the function that it
// returns that this is over.
func (v supervisor) reloading() (over func()) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		v.log.Warn("the service manager cannot be told of a reload", "error", err)
		return func() {}
	}
	v.tell(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
	return v.ready
}

// watch tells, until ctx ends, that the service goes on: as long as it is not
// ready by asking for more time, from then on as the watchdog wants it. Each time
// check has to succeed first.
func (v supervisor) watch(ctx context.Context, ready func() bool, check func(context.Context) error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		v.log.Warn("no watchdog", "error", err)
	}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	every, patience := extendEvery, startExtension/2
	if watchdog > 0 {
		every, patience = min(every, watchdog/3), min(patience, watchdog/2)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		switch err := within(ctx, patience, check); {
		case ctx.Err() != nil:
			return
		case err != nil:
			v.log.Error("does not answer, which the service manager is left to find out", "error", err)
		case !ready():
			v.tell(moreTime)
		case watchdog > 0:
			v.tell(daemon.SdNotifyWatchdog)
		default:
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func within(ctx context.Context, most time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	return check(ctx)
}

// supervise keeps the service manager told until the service is told to stop,
// which ctx is, or stops, which background is.
func (s *service) supervise(ctx, background context.Context) {
	manager := supervisor{s.log}
	manager.tell(moreTime)
	watching, end := context.WithCancel(background)
	release := context.AfterFunc(ctx, end)
	s.running.Go(func() {
		defer end()
		defer release()
		manager.watch(watching, s.ready.Load, s.answers)
	})
}

// answers asks the service for its health as anybody would, and its store for
// its size: that does not come back if there is a lock that nobody gets any more.
func (s *service) answers(ctx context.Context) error {
	err := healthy(ctx, s.cfg.Main.HTTPSCertFile != "", s.listener.Addr().String())
	s.store.Size()
	return err
}

// healthy asks for /-/healthy at an address that is our own, whose certificate
// therefore does not matter. Where clients have to show certificates we have none,
// and to be turned away is answer enough.
func healthy(ctx context.Context, https bool, addr string) error {
	scheme := "http"
	if https {
		scheme = "https"
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       new(net.Dialer).DialContext,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // nothing is sent that matters
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+"/-/healthy", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" { // as crypto/tls calls an alert
		return nil
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/-/healthy: %s", resp.Status)
	}
	return nil
}
