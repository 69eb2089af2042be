package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ringstore/ringstore/auth/ticker"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

// Keeper saves an index to its file and removes old jobs from it.
type Keeper struct {
	Index *Index
	File  File
	Log   *slog.Logger // not nil

	saved   int64        // of Index.Changes
	savedAt atomic.Int64 // Unix seconds
}

// SavedAt returns when this Keeper last wrote the file, in Unix seconds; 0 if it has not.
func (k *Keeper) SavedAt() int64 { return k.savedAt.Load() }

const (
	saveEvery  = time.Second
	saveShare  = 20 // at most 1/saveShare of the time is spent on saving
	pruneEvery = 10 * time.Minute
)

// Load reads the file. A damaged file is no error: Load logs it and sets it aside, and the
// next poll of cc-backend reads all jobs again.
func (k *Keeper) Load() error {
	err := k.Index.Load(k.File)
	if _, damaged := errors.AsType[*binfmt.DamageError](err); !damaged {
		return err
	}
	name, renameErr := k.File.SetAside()
	k.Log.Error("the job file is damaged: users do not see the missing jobs until a source reports them again",
		"error", err, "set_aside", name)
	return renameErr
}

// Run saves the index until ctx ends: at most a second after a change if saving is fast, and once
// more at the end. It also removes old jobs. It logs the first of several failures to save.
func (k *Keeper) Run(ctx context.Context) {
	failed := false
	save := func() {
		err := k.Save()
		if err != nil && !failed {
			k.Log.Error("cannot save the jobs: after a restart, users do not see jobs until a source reports them again", "error", err)
		}
		failed = err != nil
	}
	pruned, next := time.Now(), time.Now()
	for range ticker.FromNow(ctx, saveEvery) {
		if time.Since(pruned) > pruneEvery {
			k.Index.Prune()
			pruned = time.Now()
		}
		if begin := time.Now(); !begin.Before(next) {
			save()
			next = time.Now().Add(saveShare * time.Since(begin))
		}
	}
	save()
}

// Save writes the file if the index has changed since the last write. Do not call it while
// [Keeper.Run] runs.
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
