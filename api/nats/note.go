package nats

import (
	"context"
	"log/slog"
	"sync"
)

// note logs a kind of event that may come in floods: the first ones at once,
// the rest of each turn as one number.
type note struct {
	log   *slog.Logger
	level slog.Level
	text  string
	lines int // per turn

	mu   sync.Mutex
	told int
	more int
}

func newNote(log *slog.Logger, level slog.Level, lines int, text string) *note {
	return &note{log: log, level: level, lines: lines, text: text}
}

// add tells of n events. The attributes are those of the event that is logged.
func (n *note) add(events int, attrs ...any) {
	n.mu.Lock()
	tell := n.told < n.lines
	if tell {
		n.told++
	} else {
		n.more += events
	}
	n.mu.Unlock()
	if tell {
		n.log.Log(context.Background(), n.level, n.text, append(attrs, "count", events)...)
	}
}

// turn ends a turn: it logs how many events were held back.
func (n *note) turn() {
	n.mu.Lock()
	more := n.more
	n.told, n.more = 0, 0
	n.mu.Unlock()
	if more > 0 {
		n.log.Log(context.Background(), n.level, n.text, "more", more)
	}
}

// clip bounds what is logged of a text from outside.
func clip(s string) string {
	const most = 256 // bytes
	if len(s) <= most {
		return s
	}
	return s[:most] + "..."
}
