package blockfile

import (
	"context"
	"errors"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore/block"
	"github.com/ringstore/ringstore/memstore/codec"
)

// Summary counts the contents of a file.
type Summary struct {
	Head
	Hosts, Series, Blocks int
	Values                int64 // samples in the blocks
	Damage                []*disk.DamageError
	Unreadable            []*disk.ReadError
}

// Verify reads all of a file, including every value of every block, and changes nothing. It does
// not count damaged series and blocks. The error is one of [Open], of check, which may be nil, or of
// ctx.
func Verify(ctx context.Context, fsys disk.FS, path string, check func(*File) error) (Summary, error) {
	f, err := Open(fsys, path)
	if err != nil {
		return Summary{}, err
	}
	defer f.Close()
	if check != nil {
		if err := check(f); err != nil {
			return Summary{Head: f.Head}, err
		}
	}
	v := verifier{File: f, summary: Summary{Head: f.Head, Damage: f.Damage, Unreadable: f.Unreadable}}
	for i := range f.Hosts {
		if err := v.host(ctx, i); err != nil {
			return v.summary, err
		}
	}
	return v.summary, nil
}

type verifier struct {
	*File
	summary Summary
	decoder codec.Decoder
	values  []float64
}

func (v *verifier) host(ctx context.Context, i int) error {
	v.summary.Hosts++
	lanes, err := v.Series(i)
	v.addDamage(err)
	for _, series := range lanes {
		v.summary.Series += len(series)
	}
	for _, l := range v.Hosts[i].Lanes {
		for _, w := range l.Windows {
			if err := v.window(ctx, w); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

func (v *verifier) addDamage(err error) {
	if d, ok := errors.AsType[*disk.DamageError](err); ok {
		v.summary.Damage = append(v.summary.Damage, d)
	}
	if r, ok := errors.AsType[*disk.ReadError](err); ok {
		v.summary.Unreadable = append(v.summary.Unreadable, r)
	}
}

func (v *verifier) window(ctx context.Context, w WindowIndex) error {
	b, err := v.Block(w)
	if err != nil {
		v.addDamage(err)
		return ctx.Err()
	}
	n, err := v.count(ctx, b)
	if err := ctx.Err(); err != nil {
		return err
	}
	if err != nil {
		v.addDamage(v.failure(w.Offset, err))
		return nil
	}
	v.summary.Blocks++
	v.summary.Values += n
	return nil
}

// count decodes a block and counts its values.
func (v *verifier) count(ctx context.Context, b *block.Block) (n int64, err error) {
	if cap(v.values) < b.Slots {
		v.values = make([]float64, b.Slots)
	}
	values := v.values[:b.Slots]
	for i := range b.Columns() {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		if err := b.Decode(&v.decoder, values, i, 0); err != nil {
			return n, err
		}
		for _, x := range values {
			if x == x {
				n++
			}
		}
	}
	for i := range b.Aggregates() {
		a, err := b.Aggregate(i)
		if err == nil {
			err = b.DecodeAggregate(&v.decoder, values, a, 0)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
