package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"
)

// Keeper saves an index to its file and removes old jobs from it.
type Keeper struct {
	Index *Index
	File  File
	Log   *slog.Logger // not nil

	saved   int64        // of Index.Changes
	savedAt atomic.Int64 // Unix seconds
}

// SavedAt returns when the file was last written, in Unix seconds; 0 if not yet.
func (k *Keeper) SavedAt() int64 { return k.savedAt.Load() }

const (
	saveEvery  = time.Second
	saveShare  = 20 // of the time at most a part of this may go into saving
	pruneEvery = 10 * time.Minute
)

// Load reads the file. A damaged file is no error: Load logs it and sets it aside, and cc-backend is
// asked for all jobs again.
func (k *Keeper) Load() error {
	err := k.Index.Load(k.File)
	if _, damaged := errors.AsType[*DamageError](err); !damaged {
		return err
	}
	name, renameErr := k.File.SetAside()
	k.Log.Error("the job file is damaged: users do not see the missing jobs until a source reports them again",
		"error", err, "set_aside", name)
	return renameErr
}

// Run saves what has changed, a second later at the latest if saving is fast, and
// once more when ctx ends. It logs when the file cannot be written.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	failed := false
	save := func() {
		err := k.Save()
		if err != nil && !failed {
			k.Log.Error("the jobs are not saved: after a restart users may miss some until the sources tell of them", "error", err)
		}
		failed = err != nil
	}
	pruned, next := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			save()
			return
		case <-tick.C:
		}
		if time.Since(pruned) > pruneEvery {
			k.Index.Prune()
			pruned = time.Now()
		}
		if begin := time.Now(); begin.After(next) {
			save()
			next = time.Now().Add(saveShare * time.Since(begin))
		}
	}
}

// Save writes the file if anything has changed since it was written. It is not
// for use while [Keeper.Run] runs.
func (k *Keeper) Save() error {
	changes := k.Index.Changes()
	if changes == k.saved {
		return nil
	}
	if err := k.Index.Save(k.File); err != nil {
		return err
	}
	k.saved = changes
	k.savedAt.Store(k.Index.o.Now().Unix())
	return nil
}
