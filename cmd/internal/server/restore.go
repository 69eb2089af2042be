package server

import (
	"context"
	"os"
	"time"

	"github.com/ringstore/ringstore/archive/ccms"
)

// restore reads what the archive holds. If that is nothing and the directory holds checkpoints of
// cc-metric-store, these are imported.
func (s *Server) restore(ctx context.Context) error {
	begin := time.Now()
	r, err := s.archive.Restore(ctx)
	if err != nil {
		return err
	}
	n := s.store.Size()
	s.log.Info("restored", "hosts", n.Hosts, "series", n.Series, "blocks", r.Blocks, "block_bytes", n.BlockBytes,
		"journal_samples", r.Samples, "damaged", r.Damaged, "skipped", r.Skipped, "took", time.Since(begin))
	if r.Files+r.Journal.Records+r.Damaged > 0 {
		return nil
	}
	dir := s.cfg.MetricStore.Checkpoints.Directory
	from := os.DirFS(dir)
	if present, err := ccms.Present(from); err != nil || !present {
		return err
	}
	s.log.Info("importing checkpoints of cc-metric-store, as the directory holds no others", "directory", dir)
	summary, err := s.archive.Import(ctx, from)
	if err != nil {
		return err
	}
	for _, d := range summary.Damage {
		s.log.Warn("cannot be imported", "path", d.Path, "offset", d.Offset, "reason", d.Err)
	}
	s.log.Info("imported", "hosts", len(summary.Hosts), "files", summary.Files, "files_older_than_retention", summary.Skipped,
		"samples", summary.Samples-summary.Refused, "refused", summary.Refused, "damaged", summary.Damaged, "torn_tails", summary.TornTails)
	return nil
}
