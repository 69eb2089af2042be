// Package logging makes the program's loggers.
package logging

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/ringstore/ringstore/cmd/internal/terminal"
)

// levels are the names that cc-metric-store uses.
var levels = map[string]slog.Level{
	"debug": slog.LevelDebug,
	"info":  slog.LevelInfo,
	"warn":  slog.LevelWarn,
	"err":   slog.LevelError,
	"crit":  slog.LevelError + 4,
}

// Formats of log lines.
const (
	Text = "text" // logfmt
	JSON = "json"
)

// New returns a logger that writes lines of at least a level to w. An empty format is text on a
// terminal and JSON elsewhere. Text lines have a time only if date is true, as systemd adds its
// own; JSON lines always do. What looks like a token is redacted.
func New(w io.Writer, level, format string, date bool) (*slog.Logger, error) {
	minLevel, ok := levels[level]
	if !ok {
		return nil, fmt.Errorf("-loglevel: expected debug, info, warn, err or crit; got %q", level)
	}
	if format == "" {
		format = JSON
		if terminal.Is(w) {
			format = Text
		}
	}
	w = Redacted(w)
	switch format {
	case Text:
		o := &slog.HandlerOptions{Level: minLevel}
		if !date {
			o.ReplaceAttr = withoutTime
		}
		return slog.New(slog.NewTextHandler(w, o)), nil
	case JSON:
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: minLevel, ReplaceAttr: durationInSeconds})), nil
	default:
		return nil, fmt.Errorf("-logformat: expected text or json; got %q", format)
	}
}

func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// durationInSeconds logs durations as numbers of seconds, not in Go's notation or nanoseconds.
func durationInSeconds(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.Float64Value(a.Value.Duration().Seconds())
	}
	return a
}

// Warnings returns a logger for a command: it writes warnings and errors to w, each on a line that
// begins with "warning:".
func Warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(Redacted(prefixed{w}), &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey) {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// prefixed prefixes every line. A handler writes one line at a time.
type prefixed struct{ io.Writer }

func (p prefixed) Write(line []byte) (int, error) {
	if _, err := p.Writer.Write(append([]byte("warning: "), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}
