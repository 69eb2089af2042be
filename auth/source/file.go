package source

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime is the time between the first event in a directory and reading its files: files are
// changed in several steps.
const settleTime = 100 * time.Millisecond

// watchFiles requests a read of the file sources when something changes in their directories. If
// the system cannot notify us, they are only read every FileInterval.
func (w *Watcher) watchFiles(ctx context.Context) {
	var files []*Source
	for _, s := range w.sources {
		if s.file != "" {
			files = append(files, s)
		}
	}
	if len(files) == 0 {
		return
	}
	events, err := fsnotify.NewWatcher()
	if err != nil {
		w.options.Log.Warn("cannot watch files: changes are noticed late", "interval", w.options.FileInterval, "error", err)
		return
	}
	w.addDirectories(events, files)
	w.running.Go(func() {
		defer events.Close()
		w.followEvents(ctx, events, files)
	})
}

func (w *Watcher) followEvents(ctx context.Context, events *fsnotify.Watcher, files []*Source) {
	settled := time.NewTimer(settleTime)
	defer settled.Stop()
	pending := true // files may have changed since Open read them
	changed := func() {
		if !pending {
			pending = true
			settled.Reset(settleTime)
		}
	}
	rescan := time.NewTicker(w.options.FileInterval)
	defer rescan.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events.Events:
			if !open {
				return
			}
			changed()
		case <-events.Errors: // such as more events than fit
			changed()
		case <-rescan.C: // a directory may exist again
			w.addDirectories(events, files)
		case <-settled.C:
			pending = false
			w.addDirectories(events, files)
			for _, s := range files {
				offer(s.changed)
			}
		}
	}
}

// addDirectories watches the directories of the files and of the targets of links. Adding a watched
// directory again has no effect; a missing one is added at a later call.
func (w *Watcher) addDirectories(events *fsnotify.Watcher, files []*Source) {
	for _, s := range files {
		_ = events.Add(filepath.Dir(s.file))
		if target, err := filepath.EvalSymlinks(s.file); err == nil {
			_ = events.Add(filepath.Dir(target))
		}
	}
}
