package nats

import (
	"context"
	"log/slog"
	"sync"

	"github.com/ringstore/ringstore/api/internal/truncate"
)

// truncated bounds text from outside for the log.
func truncated(text string) string { return truncate.Text(text, 256) }

// rateLimitedLog logs events of one kind that may come in floods: the first ones of each
// flushInterval at once, the rest as one number at its end.
type rateLimitedLog struct {
	log   *slog.Logger
	level slog.Level
	text  string
	lines int // per interval

	mu         sync.Mutex
	logged     int // lines in this interval
	suppressed int // events in this interval
}

func newRateLimitedLog(log *slog.Logger, level slog.Level, lines int, text string) *rateLimitedLog {
	return &rateLimitedLog{log: log, level: level, lines: lines, text: text}
}

// add logs or counts a number of events. The attributes describe the one that is logged.
func (l *rateLimitedLog) add(events int, attrs ...any) {
	if l.admit(events) {
		l.log.Log(context.Background(), l.level, l.text, append(attrs, "count", events)...)
	}
}

// admit reports whether events may be logged now, and counts them otherwise.
func (l *rateLimitedLog) admit(events int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logged < l.lines {
		l.logged++
		return true
	}
	l.suppressed += events
	return false
}

// flush ends an interval: it logs how many events were suppressed.
func (l *rateLimitedLog) flush() {
	l.mu.Lock()
	suppressed := l.suppressed
	l.logged, l.suppressed = 0, 0
	l.mu.Unlock()
	if suppressed > 0 {
		l.log.Log(context.Background(), l.level, l.text, "suppressed", suppressed)
	}
}
