package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// serverLog implements the server's logger. Any client can cause errors, so lines are limited in
// rate and length.
type serverLog struct {
	log              *slog.Logger
	warnings, errors *rateLimitedLog
	fatalError       chan string // text of the first fatal error
	violation        func(host string, id uint64)
}

// newServerLog returns a logger that calls violation for each violation of permissions.
func newServerLog(log *slog.Logger, violation func(host string, id uint64)) *serverLog {
	return &serverLog{
		violation:  violation,
		log:        log,
		warnings:   newRateLimitedLog(log, slog.LevelWarn, 10, "embedded NATS server"),
		errors:     newRateLimitedLog(log, slog.LevelError, 10, "embedded NATS server"),
		fatalError: make(chan string, 1),
	}
}

func (l *serverLog) limitedLogs() []*rateLimitedLog { return []*rateLimitedLog{l.warnings, l.errors} }

// fatal returns the server's fatal error.
func (l *serverLog) fatal() error {
	select {
	case text := <-l.fatalError:
		return errors.New(text)
	default:
		return errors.New("no reason given")
	}
}

// Noticef implements [server.Logger], like the methods below.
func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("embedded NATS server", "message", redact(format, v))
}

func (l *serverLog) Warnf(format string, v ...any) { l.warnings.add(1, "message", redact(format, v)) }

// Errorf also receives the mistakes of clients, which are no errors of the server: a wrong password,
// and the violations of permissions, which the server reports nowhere else.
func (l *serverLog) Errorf(format string, v ...any) {
	if host, id, ok := parseViolation(format); ok {
		l.violation(host, id)
	}
	if _, _, ok := parseClient(format); ok {
		l.warnings.add(1, "message", redact(format, v))
		return
	}
	l.errors.add(1, "message", redact(format, v))
}

// Fatalf keeps the error for fatal. It must not end the process.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatalError <- redact(format, v):
	default:
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

// redact formats the server's text and removes quotes of a client's input, which may contain
// credentials.
func redact(format string, v []any) string {
	text := fmt.Sprintf(format, v...)
	for _, quote := range []string{"proto=", "(snip:"} {
		text, _, _ = strings.Cut(text, quote)
	}
	return truncated(text)
}

// parseViolation is [parseClient] for format strings about violations of permissions only.
func parseViolation(format string) (host string, id uint64, ok bool) {
	if !strings.Contains(format, " - Publish Violation - ") && !strings.Contains(format, " - Subscription Violation - ") {
		return "", 0, false
	}
	return parseClient(format)
}

// parseClient returns the client's host and connection number from a format string of the server
// that is about a client, such as "127.0.0.1:1234 - cid:5 - ... - Publish Violation - ...". The
// parts behind the number may come from the client.
func parseClient(format string) (host string, id uint64, ok bool) {
	address, rest, _ := strings.Cut(format, " - cid:")
	digits := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789"))]
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return "", 0, false
	}
	if host, _, err = net.SplitHostPort(address); err != nil {
		return "", 0, false
	}
	return host, id, true
}
