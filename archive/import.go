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

// Import stores what a checkpoint directory of cc-metric-store holds inside the
// retention, and writes a checkpoint: before that nothing on disk has changed, and
// an import that was broken off begins anew. Nobody else may write meanwhile. The
// error is one of reading the directory or of writing the checkpoint, or
// [memstore.ErrMemory]; what cannot be read is in the summary. After an error
// Close is all that is left to do.
func (a *Archive) Import(ctx context.Context, from fs.FS) (ccms.Summary, error) {
	var batch []memstore.Sample
	told := time.Now()
	sink := func(s ccms.Series) (refused int, err error) {
		if time.Since(told) > progressEvery {
			told = time.Now()
			a.Logger.Info("importing", "cluster", s.Key.Cluster, "host", s.Key.Host)
		}
		sr, err := a.Store.Series(s.Key)
		switch {
		case errors.Is(err, memstore.ErrMemory):
			return 0, err
		case err != nil: // a metric that is not configured, or a name
			return len(s.Times), nil
		}
		batch = batch[:0]
		for i, t := range s.Times {
			batch = append(batch, memstore.Sample{Series: sr, Time: t * 1000, Value: s.Values[i]})
		}
		bad, err := a.Store.Write(batch)
		return len(bad), err
	}
	since := a.Now().Add(-a.Store.Retention()).Unix()
	summary, err := ccms.Read(ctx, from, ccms.Options{Since: since}, sink)
	if err == nil {
		err = a.Store.Maintain()
	}
	if err != nil {
		a.brokenOff.Store(true)
		return summary, fmt.Errorf("import: %w", err)
	}
	return summary, a.Checkpoint()
}
