package parquet

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

func publishedFile(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	c := Column{Host: "a", Metric: "m", Scope: node, Frequency: 60, Times: []int64{0, 60}, Values: []float64{1, 2}}
	_, err := writeFile(context.Background(), &b, description{cluster: "fritz", source: "blocks 1-7"}, Compatible, func(yield func(Column, error) bool) { yield(c, nil) })
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A truncated or changed file is refused or read, without a panic.
func TestDamageAtEveryByte(t *testing.T) {
	whole := publishedFile(t)
	if rows, source, err := readSource(bytes.NewReader(whole), int64(len(whole))); rows != 2 || source != "blocks 1-7" || err != nil {
		t.Fatal(rows, source, err)
	}
	for i := range whole {
		if _, _, err := readSource(bytes.NewReader(whole[:i]), int64(i)); !errors.Is(err, errNotParquet) {
			t.Errorf("cut at %d: %v", i, err)
		}
		changed := bytes.Clone(whole)
		changed[i] ^= 1 << (i % 8)
		if _, _, err := readSource(bytes.NewReader(changed), int64(len(changed))); err != nil && !errors.Is(err, errNotParquet) {
			t.Errorf("changed at %d: %v", i, err)
		}
	}
}

func FuzzReadSource(f *testing.F) {
	whole := publishedFile(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("PAR1\x00\x00\x00\x00PAR1"))
	f.Fuzz(func(t *testing.T, content []byte) {
		_, _, err := readSource(bytes.NewReader(content), int64(len(content)))
		if err != nil && !errors.Is(err, errNotParquet) {
			t.Error(err)
		}
	})
}

// A read error is not reported as damage.
func TestReadErrorIsNoDamage(t *testing.T) {
	whole := publishedFile(t)
	failure := errors.New("the server is gone")
	for n := 1; ; n++ {
		r := &failingReader{ReaderAt: bytes.NewReader(whole), left: n, err: failure}
		_, _, err := readSource(r, int64(len(whole)))
		if err == nil {
			break
		}
		if !errors.Is(err, failure) || errors.Is(err, errNotParquet) {
			t.Errorf("read %d: %v", n, err)
		}
	}
}

// failingReader fails read number left, counted from 1.
type failingReader struct {
	io.ReaderAt
	left int
	err  error
}

func (r *failingReader) ReadAt(p []byte, off int64) (int, error) {
	if r.left--; r.left == 0 {
		return 0, r.err
	}
	return r.ReaderAt.ReadAt(p, off)
}
