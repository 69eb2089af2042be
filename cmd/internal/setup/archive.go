package setup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// Archive opens the configured checkpoint directory. observer may be nil.
func Archive(cfg *configs.Config, store *memstore.Store, observer journal.Observer, log *slog.Logger) (*archive.Archive, error) {
	c := cfg.MetricStore.Checkpoints
	o := archive.Options{
		Dir:          c.Directory,
		Store:        store,
		Interval:     cfg.MetricStore.CheckpointInterval,
		Sync:         syncMode(c.Sync),
		JournalBytes: c.MaxWALSize,
		Logger:       log,
		Observer:     observer,
	}
	if clean := cfg.MetricStore.Cleanup; clean.Mode == configs.CleanupArchive {
		encoding := parquet.Compatible
		if clean.Encoding == configs.EncodingCompact {
			encoding = parquet.Compact
		}
		var err error
		if o.Parquet, err = parquet.Open(disk.OS{}, clean.Directory, encoding); err != nil {
			return nil, fmt.Errorf("metric-store.cleanup.directory: %w", err)
		}
	}
	a, err := archive.Open(o)
	if err != nil && o.Parquet != nil {
		err = errors.Join(err, o.Parquet.Close())
	}
	return a, err
}

func syncMode(s configs.Sync) journal.SyncMode {
	switch s {
	case configs.SyncAlways:
		return journal.Always
	case configs.SyncOff:
		return journal.Off
	}
	return journal.SyncMode(s.Interval())
}

// RestoredArchive opens and restores the archive of a server that is not running. The caller closes
// it.
func RestoredArchive(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*archive.Archive, error) {
	nodes, err := Nodes(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	if nodes != nil {
		if err := nodes.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("cannot find out which samples running jobs need: %w", err)
		}
	}
	store, err := Store(cfg, nodes)
	if err != nil {
		return nil, err
	}
	a, err := Archive(cfg, store, nil, log)
	if err != nil {
		return nil, err
	}
	if _, err := a.Restore(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}
