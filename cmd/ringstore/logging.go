package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// levels are the names of cc-metric-store.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"err":   slog.LevelError,
	"crit":  slog.LevelError + 4,
}

// Forms of log lines.
const (
	logText = "text" // logfmt
	logJSON = "json"
)

// newLogger logs to w: as text where somebody watches, as JSON to everything
// else, unless format says which. Text has a time if date is set, as systemd adds
// its own; JSON always has.
func newLogger(w io.Writer, level, format string, date bool) (*slog.Logger, error) {
	least, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("ringstore: -loglevel %q is none of debug, info, warn, err, crit", level)
	}
	if format == "" {
		format = logJSON
		if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			format = logText
		}
	}
	switch format {
	case logText:
		o := &slog.HandlerOptions{Level: least}
		if !date {
			o.ReplaceAttr = withoutTime
		}
		return slog.New(slog.NewTextHandler(w, o)), nil
	case logJSON:
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: inSeconds})), nil
	default:
		return nil, fmt.Errorf("ringstore: -logformat %q is neither text nor json", format)
	}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// inSeconds makes numbers of durations that do not depend on how Go counts.
func inSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
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
