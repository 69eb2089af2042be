package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/ringstore/ringstore/archive"
	"github.com/ringstore/ringstore/archive/ccms"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
	"github.com/ringstore/ringstore/archive/parquet"
	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/memstore"
)

// openArchive takes the directory that the configuration names. times may be nil.
func openArchive(cfg *configs.Config, store *memstore.Store, times journal.Observer, log *slog.Logger) (*archive.Archive, error) {
	c := cfg.MetricStore.Checkpoints
	o := archive.Options{
		Dir:          c.Directory,
		Store:        store,
		Interval:     cfg.MetricStore.CheckpointInterval,
		Sync:         syncMode(c.Sync),
		JournalBytes: c.MaxWALSize,
		Logger:       log,
		Observer:     times,
	}
	if clean := cfg.MetricStore.Cleanup; clean.Mode == configs.CleanupArchive {
		var err error
		if o.Parquet, err = parquet.Open(disk.OS{}, clean.Directory); err != nil {
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

// restore brings back what the archive holds. Where that is nothing, and
// cc-metric-store has left its checkpoints, these are imported.
func (s *service) restore(ctx context.Context) error {
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
	if there, err := ccms.Present(from); err != nil || !there {
		return err
	}
	s.log.Info("the directory holds checkpoints of cc-metric-store and none of ours: they are imported", "directory", dir)
	summary, err := s.archive.Import(ctx, from)
	if err != nil {
		return err
	}
	for _, d := range summary.Damage {
		s.log.Warn("cannot be imported", "path", d.Path, "offset", d.Offset, "reason", d.Reason)
	}
	s.log.Info("imported", "hosts", len(summary.Hosts), "files", summary.Files, "files_older_than_retention", summary.Skipped,
		"samples", summary.Samples-summary.Refused, "refused", summary.Refused, "damaged", summary.Damaged, "torn_tails", summary.TornTails)
	return nil
}

// stopped opens the archive of a server that does not run, and restores it.
func stopped(ctx context.Context, cfg *configs.Config, log *slog.Logger) (*archive.Archive, error) {
	nodes, err := newNodes(ctx, cfg, log)
	if err != nil {
		return nil, err
	}
	if nodes != nil {
		if err := nodes.Refresh(ctx); err != nil {
			return nil, fmt.Errorf("which samples running jobs need is not known: %w", err)
		}
	}
	store, err := newStore(cfg, nodes)
	if err != nil {
		return nil, err
	}
	a, err := openArchive(cfg, store, nil, log)
	if err != nil {
		return nil, err
	}
	if _, err := a.Restore(ctx); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// cleanCheckpoints does what -cleanup-checkpoints asks for: what is older than
// the retention, and not needed by a job, goes; into the archive, if there is one.
func cleanCheckpoints(ctx context.Context, cfg *configs.Config, log *slog.Logger) error {
	a, err := stopped(ctx, cfg, log)
	if err != nil {
		return err
	}
	return errors.Join(a.Checkpoint(), a.Cleanup(ctx, true), a.Close())
}

// runImport stores what a checkpoint directory of cc-metric-store holds.
func runImport(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	flags := newFlags("import", stderr)
	cfg, err := configured(flags, args, 1)
	if err != nil {
		return err
	}
	from := flags.Arg(0)
	if info, err := os.Stat(from); err != nil || !info.IsDir() {
		return errors.Join(fmt.Errorf("%s is no directory", from), err)
	}
	a, err := stopped(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	summary, err := a.Import(ctx, os.DirFS(from))
	if err := errors.Join(err, a.Close()); err != nil {
		return err
	}
	printSummary(stdout, summary)
	return nil
}

func printSummary(w io.Writer, s ccms.Summary) {
	for _, d := range s.Damage {
		fmt.Fprintf(w, "damaged: %v\n", d)
	}
	for _, h := range s.Hosts {
		fmt.Fprintf(w, "%s/%s: %d samples from %s to %s\n", h.Cluster, h.Host, h.Samples,
			time.Unix(h.From, 0).UTC().Format(time.RFC3339), time.Unix(h.To, 0).UTC().Format(time.RFC3339))
	}
	fmt.Fprintf(w, "%d samples of %d hosts came in, %d were refused (older than the retention, or of metrics or names that cannot be)\n",
		s.Samples-s.Refused, len(s.Hosts), s.Refused)
	fmt.Fprintf(w, "%d files were read, %d are older than the retention, %d places are damaged, %d logs end in a torn record\n",
		s.Files, s.Skipped, s.Damaged, s.TornTails)
}

// runVerify reads all files of the archive and prints what is wrong with them.
func runVerify(ctx context.Context, args []string, _ io.Reader, stdout, stderr io.Writer) error {
	cfg, err := configured(newFlags("verify", stderr), args, 0)
	if err != nil {
		return err
	}
	v, err := archive.Verify(ctx, disk.OS{}, cfg.MetricStore.Checkpoints.Directory)
	if err != nil {
		return err
	}
	for _, d := range v.Damage {
		fmt.Fprintln(stdout, d)
	}
	fmt.Fprintf(stdout, "%d files with %d blocks and %d values, %d records of the journal, %d problems\n", v.Files, v.Blocks, v.Values, v.Records, len(v.Damage))
	if len(v.Damage) > 0 {
		return fmt.Errorf("%d problems", len(v.Damage))
	}
	return nil
}
