package binfmt_test

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

func TestReader(t *testing.T) {
	b := binary.AppendUvarint(nil, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = append(b, 2, 'h', 'i', 7, 2, 0x7f, 0x01, 'x')
	r := binfmt.NewReader(b, 100)
	if got := r.Uvarint(0, math.MaxUint64, "a"); got != math.MaxUint64 {
		t.Errorf("Uvarint: %d", got)
	}
	if got := r.Varint(math.MinInt64, 0, "b"); got != math.MinInt64 {
		t.Errorf("Varint: %d", got)
	}
	if got := r.String(2, 2, "c"); got != "hi" {
		t.Errorf("String: %q", got)
	}
	if got := r.Byte("d"); got != 7 {
		t.Errorf("Byte: %d", got)
	}
	if got := r.Count(1, "e"); got != 2 {
		t.Errorf("Count: %d", got)
	}
	if got := r.Varints(2, -64, 64, "f"); !slices.Equal(got, []byte{0x7f, 0x01}) {
		t.Errorf("Varints: %x", got)
	}
	if got, want := r.Offset(), int64(100+len(b)-1); got != want {
		t.Errorf("Offset: %d, want %d", got, want)
	}
	if got := r.Take(1, "g"); string(got) != "x" {
		t.Errorf("Take: %q", got)
	}
	r.Finish("last field")
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

func TestDamage(t *testing.T) {
	f := func(name string, b []byte, offset int64, reason string, read func(r *binfmt.Reader)) {
		t.Run(name, func(t *testing.T) {
			r := binfmt.NewReader(b, 10)
			read(&r)
			checkDamage(t, r.Err(), offset, reason)
			if len(r.Rest) > 0 {
				t.Errorf("%d bytes are left", len(r.Rest))
			}
			r.Fail("a later error")
			if r.Uvarint(3, 9, "later") != 3 || r.Varint(-3, 9, "later") != -3 || r.Take(1, "later") != nil ||
				r.Byte("later") != 0 || r.Count(1, "later") != 0 || r.String(1, 9, "later") != "" || len(r.Varints(3, 0, 9, "later")) > 0 {
				t.Error("a field after the error is not its minimum")
			}
			checkDamage(t, r.Err(), offset, reason)
		})
	}
	f("no uvarint", nil, 10, "slots: expected a number, got the end of the data", func(r *binfmt.Reader) { r.Uvarint(0, 1, "slots") })
	f("an unfinished uvarint", []byte{0x80}, 10, "slots: expected a number, got the end of the data", func(r *binfmt.Reader) { r.Uvarint(0, 1, "slots") })
	f("a uvarint of 11 bytes", slices.Repeat([]byte{0xff}, 11), 10, "slots: expected a number of 64 bits, got a longer one", func(r *binfmt.Reader) { r.Uvarint(0, 1, "slots") })
	f("a uvarint too low", []byte{1, 1}, 11, "slots: expected 2 to 3, got 1", func(r *binfmt.Reader) { r.Byte("first"); r.Uvarint(2, 3, "slots") })
	f("a uvarint too high", []byte{4}, 10, "slots: expected 2 to 3, got 4", func(r *binfmt.Reader) { r.Uvarint(2, 3, "slots") })
	f("a varint too low", []byte{3}, 10, "grid: expected -1 to 3, got -2", func(r *binfmt.Reader) { r.Varint(-1, 3, "grid") })
	f("a varint too high", []byte{8}, 10, "grid: expected -1 to 3, got 4", func(r *binfmt.Reader) { r.Varint(-1, 3, "grid") })
	f("the second of two varints", []byte{0, 8}, 11, "grid: expected -1 to 3, got 4", func(r *binfmt.Reader) { r.Varints(2, -1, 3, "grid") })
	f("too few bytes", []byte{1, 2}, 10, "ids: expected 3 bytes, got 2", func(r *binfmt.Reader) { r.Take(3, "ids") })
	f("a count beyond the bytes", []byte{2, 1, 1, 1}, 10, "number of jobs: expected 0 to 1, got 2", func(r *binfmt.Reader) { r.Count(3, "jobs") })
	f("a string too long", []byte{3, 'a', 'b', 'c'}, 10, "length of host: expected 1 to 2, got 3", func(r *binfmt.Reader) { r.String(1, 2, "host") })
	f("a string that ends early", []byte{3, 'a', 'b'}, 11, "host: expected 3 bytes, got 2", func(r *binfmt.Reader) { r.String(1, 9, "host") })
	f("bytes left", []byte{1, 2, 3}, 11, "2 bytes after the jobs", func(r *binfmt.Reader) { r.Byte("first"); r.Finish("jobs") })
}

func checkDamage(t *testing.T, err error, offset int64, reason string) {
	t.Helper()
	damage, ok := errors.AsType[*binfmt.DamageError](err)
	if !ok || damage.Offset != offset || damage.Reason != reason {
		t.Errorf("got %v, want %q at byte %d", err, reason, offset)
	}
}

func TestReaderAllocatesNothing(t *testing.T) {
	b := []byte{1, 2, 3, 1, 'x', 4}
	got := testing.AllocsPerRun(100, func() {
		r := binfmt.NewReader(b, 0)
		r.Uvarint(0, 9, "a")
		r.Varint(-9, 9, "b")
		r.Count(1, "c")
		r.Take(1, "d")
		r.Byte("e")
		r.Byte("f")
		r.Finish("f")
		if r.Err() != nil {
			t.Fatal(r.Err())
		}
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestChecksum(t *testing.T) {
	const want = 0xe3069283 // RFC 3720's CRC32C of these digits
	if got := binfmt.Checksum([]byte("123456789")); got != want {
		t.Errorf("Checksum: %#x", got)
	}
	if got := binfmt.UpdateChecksum(binfmt.Checksum([]byte("1234")), []byte("56789")); got != want {
		t.Errorf("UpdateChecksum: %#x", got)
	}
}
