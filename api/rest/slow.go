package rest

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ringstore/ringstore/auth"
)

// maxLoggedName is how much of a name that a client chose goes into a log line, in bytes. Names
// that are stored are shorter unless limits say otherwise.
const maxLoggedName = 256

// asked is what a query asked for, and what it cost as far as it went.
type asked struct {
	what    []slog.Attr
	seconds int64 // of the time range
	cost    cost
}

// logSlow logs a query that took at least [Options.SlowQuery], with its principal and its cost.
func (h *Handler) logSlow(ctx context.Context, r *http.Request, x *exchange, took time.Duration) {
	if h.SlowQuery <= 0 || took < h.SlowQuery || x.asked == nil {
		return
	}
	attrs := []slog.Attr{
		slog.String("id", x.id),
		slog.String("peer", peer(r).String()),
	}
	attrs = append(attrs, x.asked.what...)
	attrs = append(attrs,
		slog.Int("queries", x.asked.cost.queries),
		slog.Int("series", x.asked.cost.series),
		slog.Int("values", x.asked.cost.values),
		slog.Int64("seconds", x.asked.seconds),
		slog.Int("status", x.status),
		slog.Int64("bytes", x.bytes),
		slog.Duration("took", took),
	)
	if p := x.principal; p != nil {
		attrs = append(attrs, principalAttr(p))
	}
	h.Log.LogAttrs(ctx, slog.LevelWarn, "slow query", attrs...)
}

// principalAttr describes a principal as the audit log does.
func principalAttr(p *auth.Principal) slog.Attr {
	return slog.Group("principal", slog.String("issuer", clipped(p.Issuer)), slog.String("subject", clipped(p.Subject)),
		slog.String("roles", p.Roles.String()))
}

func clipped(name string) string {
	return strings.ToValidUTF8(name[:min(len(name), maxLoggedName)], "")
}
