package nats

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
)

// serverLog takes what the server logs. Anybody who can connect can make it
// complain, so that is bounded in number and length.
type serverLog struct {
	log              *slog.Logger
	warnings, errors *note
	death            chan string // the text of the first fatal error
	violation        func(host string, id uint64)
}

// newServerLog calls violation for each connection that asks for what it may
// not.
func newServerLog(log *slog.Logger, violation func(host string, id uint64)) *serverLog {
	return &serverLog{
		violation: violation,
		log:       log,
		warnings:  newNote(log, slog.LevelWarn, 10, "embedded NATS server"),
		errors:    newNote(log, slog.LevelError, 10, "embedded NATS server"),
		death:     make(chan string, 1),
	}
}

func (l *serverLog) notes() []*note { return []*note{l.warnings, l.errors} }

// fatal is the error that the server could not go on with.
func (l *serverLog) fatal() error {
	select {
	case text := <-l.death:
		return errors.New(text)
	default:
		return errors.New("no reason given")
	}
}

// Noticef implements [server.Logger], as the others.
func (l *serverLog) Noticef(format string, v ...any) {
	l.log.Debug("embedded NATS server", "says", said(format, v))
}

func (l *serverLog) Warnf(format string, v ...any) { l.warnings.add(1, "says", said(format, v)) }

// Errorf is also the only place where violations of permissions are told.
func (l *serverLog) Errorf(format string, v ...any) {
	if host, id, ok := violator(format); ok {
		l.violation(host, id)
		l.warnings.add(1, "says", said(format, v))
		return
	}
	l.errors.add(1, "says", said(format, v))
}

// Fatalf must not end the process: who started the server sees that it did not.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.death <- said(format, v):
	default:
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

// said is the server's text without the pieces of a client's input that it
// quotes when it does not understand them: these may hold credentials.
func said(format string, v []any) string {
	text := fmt.Sprintf(format, v...)
	for _, quote := range []string{"proto=", "(snip:"} {
		text, _, _ = strings.Cut(text, quote)
	}
	return clip(text)
}

// violator takes a client's address and number from the format of a line about
// a violation: "127.0.0.1:1234 - cid:5 - ... - Publish Violation - ...". What
// stands between may be the client's words.
func violator(format string) (host string, id uint64, ok bool) {
	if !strings.Contains(format, " - Publish Violation - ") && !strings.Contains(format, " - Subscription Violation - ") {
		return "", 0, false
	}
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
