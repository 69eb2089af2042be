package source

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settleTime is from the first news of a directory to the reading of its files: who changes a file does it in steps.
const settleTime = 100 * time.Millisecond

// watchFiles has the sources told that are files when something happens in their directories. Where the system cannot
// say so, they are only looked at now and then.
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
		w.options.Log.Warn("changes of files are seen late", "every", w.options.FileInterval, "error", err)
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
	pending := true // as something may have happened since the files were first read
	happened := func() {
		if !pending {
			pending = true
			settled.Reset(settleTime)
		}
	}
	again := time.NewTicker(w.options.FileInterval)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case _, open := <-events.Events:
			if !open {
				return
			}
			happened()
		case <-events.Errors: // such as more events than fit
			happened()
		case <-again.C: // a directory may have come back
			w.addDirectories(events, files)
		case <-settled.C:
			pending = false
			w.addDirectories(events, files)
			for _, s := range files {
				offer(s.told)
			}
		}
	}
}

// addDirectories watches the directories that files are in, and those that links lead to. Adding again what is watched
// costs nothing and changes nothing; what is gone the next round finds.
func (w *Watcher) addDirectories(events *fsnotify.Watcher, files []*Source) {
	for _, s := range files {
		_ = events.Add(filepath.Dir(s.file))
		if target, err := filepath.EvalSymlinks(s.file); err == nil {
			_ = events.Add(filepath.Dir(target))
		}
	}
}
