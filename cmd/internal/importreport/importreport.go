// Package importreport says what an import of checkpoints of cc-metric-store kept and what it did
// not, in the log or as text.
package importreport

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive"
)

// hint follows losses. The first start imports, and no later one.
const hint = `a restart does not import again: correct the configuration, stop the server and run "ringstore import"`

// Log logs the summary of a server's import from a directory.
func Log(log *slog.Logger, directory string, s archive.ImportSummary) {
	for _, d := range s.Damage {
		log.Warn("cannot be imported", "path", d.Path, "offset", d.Offset, "reason", d.Err)
	}
	for _, l := range s.Losses {
		log.Warn("samples not imported", "reason", l.Reason, "samples", l.Samples, "metrics", metrics(l))
	}
	level := slog.LevelInfo
	if s.Samples == s.Refused {
		level = slog.LevelWarn
	}
	log.Log(context.Background(), level, "imported", "hosts", len(s.Hosts), "files", s.Files, "files_older_than_retention", s.Skipped,
		"samples", s.Samples-s.Refused, "refused", s.Refused, "damaged", s.Damaged, "torn_tails", s.TornTails)
	if len(s.Losses) > 0 || s.Samples == s.Refused {
		log.Warn(hint, "directory", directory)
	}
}

// Print prints the summary of an import command.
func Print(w io.Writer, s archive.ImportSummary) error {
	var b strings.Builder
	for _, d := range s.Damage {
		fmt.Fprintln(&b, d)
	}
	for _, h := range s.Hosts {
		if h.Samples == 0 {
			fmt.Fprintf(&b, "%s/%s: no samples\n", h.Cluster, h.Host)
			continue
		}
		fmt.Fprintf(&b, "%s/%s: %s from %s to %s\n", h.Cluster, h.Host, count(h.Samples, "sample"),
			time.Unix(h.From, 0).UTC().Format(time.RFC3339), time.Unix(h.To, 0).UTC().Format(time.RFC3339))
	}
	for _, l := range s.Losses {
		fmt.Fprintf(&b, "not imported, %s: %s (%s)\n", l.Reason, count(l.Samples, "sample"), metrics(l))
	}
	fmt.Fprintf(&b, "imported %s of %s, refused %d\n", count(s.Samples-s.Refused, "sample"), count(len(s.Hosts), "host"), s.Refused)
	fmt.Fprintf(&b, "read %s, skipped %d older than the retention; %s, %s with an incomplete last record\n",
		count(s.Files, "file"), s.Skipped, count(s.Damaged, "damaged place"), count(s.TornTails, "log"))
	_, err := io.WriteString(w, b.String())
	return err
}

// maxMetrics is the maximum number of metrics that are named for one reason.
const maxMetrics = 10

// metrics lists the metrics of a loss with their samples.
func metrics(l archive.Loss) string {
	var names []string
	for i, m := range l.Metrics {
		if i == maxMetrics {
			names = append(names, fmt.Sprintf("and %d more", len(l.Metrics)-i))
			break
		}
		name := m.Metric
		if name == "" {
			name = "others"
		}
		names = append(names, fmt.Sprintf("%s: %d", name, m.Samples))
	}
	return strings.Join(names, ", ")
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
