package rest_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/ringstore/ringstore/api/rest"
)

// freed records the times that a deletion asks for, in Unix seconds.
type freed struct{ to []int64 }

func (f *freed) Free(_ context.Context, _ [][]string, to int64) (int, error) {
	f.to = append(f.to, to)
	return 0, nil
}

// The unit of a time follows from its size, as that of a sample's does.
func TestFreeTellsUnitsApart(t *testing.T) {
	var f freed
	d := open(t, func(o *rest.Options) { o.Freer = &f })
	for raw, want := range map[string]int64{
		"0": 0, "1": 1, "-1": -1, "1700000400": 1_700_000_400, "99999999999": 99_999_999_999,
		"1700000400000": 1_700_000_400, "1700000400999": 1_700_000_400,
		"1700000400000000": 1_700_000_400, "1700000400999999": 1_700_000_400,
		"1700000400000000000": 1_700_000_400, "1700000400999999999": 1_700_000_400,
		"-1700000400001":          -1_700_000_401,
		fmt.Sprint(math.MaxInt64): math.MaxInt64 / 1_000_000_000,
	} {
		f.to = nil
		if got := d.send(t, "POST", "/api/free?to="+raw, `[["alpha"]]`); got.status != 200 || len(f.to) != 1 || f.to[0] != want {
			t.Errorf("%s: %d, %d, want %d", raw, got.status, f.to, want)
		}
	}
	f.to = nil
	for _, raw := range []string{"", "x", "1e9", "1700000400.5", "9223372036854775808", "2026-11-30", "%201"} {
		if got := d.send(t, "POST", "/api/free?to="+raw, `[["alpha"]]`); got.status != 400 || f.to != nil {
			t.Errorf("%q: %d, %d", raw, got.status, f.to)
		}
	}
}
