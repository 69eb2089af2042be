package server

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

	"github.com/ringstore/ringstore/auth/ticker"
)

// While the server starts, it asks the service manager for startExtension more at every
// extendInterval: a server that restores for hours is left alone, a hung one is not.
const (
	extendInterval = 10 * time.Second
	startExtension = time.Minute
)

// extendStart asks for startExtension.
var extendStart = fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d\nSTATUS=Restoring", startExtension.Microseconds())

// serviceManager is the program that started the server and expects reports by sd_notify(3),
// usually systemd. If there is none, nothing is sent.
type serviceManager struct{ log *slog.Logger }

// notify sends a state, such as READY=1. Errors are only logged.
func (m serviceManager) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log.Warn("cannot notify the service manager", "state", state, "error", err)
	}
}

// ready reports that the server is ready, or that a reload is over.
func (m serviceManager) ready() { m.notify(daemon.SdNotifyReady + "\nSTATUS=Ready") }

// reloading reports that a reload begins. The function that it returns reports the end.
func (m serviceManager) reloading() (done func()) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		m.log.Warn("cannot notify the service manager of a reload", "error", err)
		return func() {}
	}
	m.notify(fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
	return m.ready
}

// watch reports until ctx ends that the server is alive, each time if check succeeds: before the
// server is ready by asking for more time, afterwards to the watchdog, if there is one.
func (m serviceManager) watch(ctx context.Context, ready func() bool, check func(context.Context) error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log.Warn("the watchdog cannot be used", "error", err)
	}
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return
	}
	interval, timeout := extendInterval, startExtension/2
	if watchdog > 0 {
		interval, timeout = min(interval, watchdog/3), min(timeout, watchdog/2)
	}
	for range ticker.FromNow(ctx, interval) {
		switch err := checkWithin(ctx, timeout, check); {
		case ctx.Err() != nil:
			return
		case err != nil:
			m.log.Error("the server does not respond; no report to the service manager", "error", err)
		case !ready():
			m.notify(extendStart)
		case watchdog > 0:
			m.notify(daemon.SdNotifyWatchdog)
		default:
			return
		}
	}
}

func checkWithin(ctx context.Context, timeout time.Duration, check func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return check(ctx)
}

// supervise reports to the service manager until a stop is requested, which ends ctx, or the server
// stops, which ends background.
func (s *Server) supervise(ctx, background context.Context) {
	manager := serviceManager{s.log}
	manager.notify(extendStart)
	watching, end := context.WithCancel(background)
	release := context.AfterFunc(ctx, end)
	s.running.Go(func() {
		defer end()
		defer release()
		manager.watch(watching, s.ready.Load, s.checkHealth)
	})
}

// checkHealth asks the server for its health as a client would, and the store for its size, which
// does not return if the store is deadlocked.
func (s *Server) checkHealth(ctx context.Context) error {
	err := requestHealth(ctx, s.cfg.Main.HTTPSCertFile != "", s.main.addr())
	s.store.Size()
	return err
}

// requestHealth requests /-/healthy from this server, so its certificate need not be verified. If
// the server requires client certificates, its rejection of the connection is proof enough that it
// responds.
func requestHealth(ctx context.Context, https bool, addr string) error {
	scheme := "http"
	if https {
		scheme = "https"
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext:       new(net.Dialer).DialContext,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // the request is to this process, without a token
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+addr+"/-/healthy", nil)
	if err != nil {
		return err
	}
	resp, err := transport.RoundTrip(req)
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" { // so crypto/tls names an alert
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
