package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/ringstore/ringstore/archive/ccms"
	"github.com/ringstore/ringstore/memstore"
)

// Import stores the samples of a checkpoint directory of cc-metric-store that are within the
// retention, and writes a checkpoint. Nothing on disk changes before that, so an import that failed
// can simply be repeated. There must be no other writer meanwhile. The error is one of reading the
// directory or of writing the checkpoint, or [memstore.ErrMemory]; damaged files are in the
// summary. After an error the archive must be closed.
func (a *Archive) Import(ctx context.Context, from fs.FS) (ccms.Summary, error) {
	var batch []memstore.Sample
	logged := time.Now()
	sink := func(s ccms.Series) (refused int, err error) {
		if time.Since(logged) > progressEvery {
			logged = time.Now()
			a.Logger.Info("importing", "cluster", s.Key.Cluster, "host", s.Key.Host)
		}
		sr, err := a.Store.Series(s.Key)
		switch {
		case errors.Is(err, memstore.ErrMemory):
			return 0, err
		case err != nil: // the metric is not configured, or a name is invalid
			return len(s.Times), nil
		}
		batch = batch[:0]
		for i, t := range s.Times {
			batch = append(batch, memstore.Sample{Series: sr, Time: t * 1000, Value: s.Values[i]})
		}
		refusals, err := a.Store.Write(batch)
		return len(refusals), err
	}
	since := a.Now().Add(-a.Store.Retention()).Unix()
	summary, err := ccms.Read(ctx, from, ccms.Options{Since: since}, sink)
	if err == nil {
		err = a.Store.Maintain()
	}
	if err != nil {
		a.importFailed.Store(true)
		return summary, fmt.Errorf("import: %w", err)
	}
	return summary, a.Checkpoint()
}
