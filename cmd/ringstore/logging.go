package main

import (
	"fmt"
	"io"
	"log/slog"
)

// levels are the names of cc-metric-store.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"err":   slog.LevelError,
	"crit":  slog.LevelError + 4,
}

// newLogger logs to w. Without date there is no time either: systemd adds both.
func newLogger(w io.Writer, level string, date bool) (*slog.Logger, error) {
	least, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("ringstore: -loglevel %q is none of debug, info, warn, err, crit", level)
	}
	o := &slog.HandlerOptions{Level: least}
	if !date {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}
	}
	return slog.New(slog.NewTextHandler(w, o)), nil
}

// warnings logs to somebody who called a command: only what is wrong, a line
// each that begins with "warning:".
func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(prefixed{w}, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// prefixed is for a handler, which writes a line at a time.
type prefixed struct{ io.Writer }

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.Writer.Write(append([]byte("warning: "), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
