package server

import (
	"context"
	"os"
	"time"

	"github.com/ringstore/ringstore/archive/ccms"
	"github.com/ringstore/ringstore/cmd/internal/importreport"
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
	if r.Files+r.Journal.Records+r.Damaged > 0 || s.archive.ReadOnly() != nil {
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
	importreport.Log(s.log, dir, summary)
	return nil
}
