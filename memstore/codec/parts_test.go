package codec

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBitStream(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	type field struct {
		value uint64
		width uint
	}
	var fields []field
	w := bitWriter{buf: []byte("x")}
	for range 2000 {
		f := field{width: r.UintN(65)}
		f.value = r.Uint64() & (1<<f.width - 1)
		w.putWide(f.value, f.width)
		fields = append(fields, f)
	}
	src := w.close()
	reader := bitReader{src: src[1:]}
	for i, f := range fields {
		if got := reader.takeWide(f.width); got != f.value || reader.overrun() {
			t.Fatalf("field %d of %d bits is %#x, want %#x", i, f.width, got, f.value)
		}
	}
	if tail := reader.tail(); len(tail) > 0 {
		t.Errorf("%d bytes are left", len(tail))
	}
	if reader.take(57) != 0 || !reader.overrun() {
		t.Error("reading past the end goes unnoticed")
	}
}

func TestRuns(t *testing.T) {
	f := func(runs ...int) {
		t.Helper()
		total, in := 0, 0
		for i, n := range runs {
			total += n
			if i&1 == 0 {
				in += n
			}
		}
		w := bitWriter{}
		w.putRuns(runs)
		size := 8*len(w.buf) + int(w.held)
		reader := bitReader{src: w.close()}
		got, count, err := reader.takeRuns(nil, total)
		if err != nil || count != in || !slices.Equal(got, runs) || int(reader.pos) != size || size != runBits(runs) {
			t.Errorf("%v: got %v with %d inside, %d bits of %d, estimated %d; %v", runs, got, count, reader.pos, size, runBits(runs), err)
		}
	}
	f(1)
	f(5)
	f(0, 5)
	f(0, 1, 1)
	f(1, 1, 1, 1, 1)
	f(100, 1, 20, 1, 300)
	f(0, 1000)
	f(1, 1000000)
	f(1000000, 1, 1, 1)
	f(1, 1, 1, 1, 1, 900, 1, 1, 1)
	f(70, 70)
	ones := slices.Repeat([]int{1}, 2000)
	f(append(ones, 1<<19)...)
}

func TestLadder(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 100000 {
		n := r.Uint64() >> r.UintN(64)
		k := r.UintN(64)
		at := rungAfter(rung(n), k)
		start, width := rungStart(at, k), offsetBits(at, k)
		if n < start || width < 64 && n-start >= 1<<width || n&(1<<width-1) != n-start {
			t.Fatalf("%d with shift %d is on rung %d, which has %d bits from %d", n, k, at, width, start)
		}
	}
}

func TestPrefixCode(t *testing.T) {
	f := func(counts ...uint32) {
		t.Helper()
		lengths := make([]uint8, len(counts))
		huffman(lengths, counts)
		used := 0
		for s, c := range counts {
			if c > 0 {
				used++
			}
			if c > 0 && used > 1 && lengths[s] == 0 || c == 0 && lengths[s] > 0 || lengths[s] > maxCode {
				t.Errorf("%v: lengths %v", counts, lengths)
			}
		}
		if !valid(lengths) && used > 0 {
			t.Errorf("%v: lengths %v are not valid", counts, lengths)
		}
		w := bitWriter{}
		w.putLengths(lengths)
		reader := bitReader{src: w.close()}
		got := make([]uint8, len(lengths))
		if err := reader.takeLengths(got); err != nil || !slices.Equal(got, lengths) {
			t.Errorf("%v: lengths %v are read as %v, %v", counts, lengths, got, err)
		}
	}
	f(1, 1)
	f(0, 0, 5)
	f(5, 0, 0, 1)
	f(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096) // deeper than maxCode
	f(slices.Repeat([]uint32{1}, 128)...)
	f(slices.Repeat([]uint32{0, 1 << 30, 1}, 42)...)
	r := rand.New(rand.NewPCG(3, 3))
	for range 2000 {
		counts := make([]uint32, 2+r.IntN(127))
		for i := range counts {
			counts[i] = r.Uint32() >> r.UintN(40)
		}
		counts[len(counts)-1] = 1 + r.Uint32N(9)
		f(counts...)
	}
	if !valid(geometric[:]) {
		t.Error("the fixed lengths are not valid")
	}
}

func TestHuffmanIsOptimalWithoutLimit(t *testing.T) {
	f := func(bits uint32, counts ...uint32) {
		t.Helper()
		lengths := make([]uint8, len(counts))
		huffman(lengths, counts)
		total := uint32(0)
		for s, c := range counts {
			total += c * uint32(lengths[s])
		}
		if total != bits {
			t.Errorf("%v takes %d bits, want %d", counts, total, bits)
		}
	}
	f(2, 1, 1)
	f(5, 1, 1, 1)
	f(8, 1, 1, 1, 1)
	f(224, 45, 13, 12, 16, 9, 5) // Cormen et al., Introduction to Algorithms
	f(15+2*8+3*4+4*2+4*1, 15, 8, 4, 2, 1)
}

func TestPlaces(t *testing.T) {
	f := func(v float64, want int, decimal bool) {
		t.Helper()
		got, ok := places(v, 0)
		if ok != decimal || ok && got != want {
			t.Errorf("%v has %d places, %v; want %d, %v", v, got, ok, want, decimal)
		}
	}
	f(0, 0, true)
	f(1, 0, true)
	f(-1, 0, true)
	f(0.5, 1, true)
	f(95.01, 2, true)
	f(-0.001, 3, true)
	f(1.63934426229508, 14, true)
	f(0.892857142857143, 15, true)
	f(1e15, 0, true)
	f(1e-22, 22, true)
	f(123456.789, 3, true)
	f(1e15+2, 0, false)
	f(1e-23, 0, false)
	f(1.0/3, 0, false)
	f(math.Pi, 0, false)
	f(math.Copysign(0, -1), 0, false)
	f(math.Inf(1), 0, false)
	f(math.NaN(), 0, false)
	f(math.MaxFloat64, 0, false)
	f(5e-324, 0, false)
}

func TestStep(t *testing.T) {
	f := func(want int64, ints ...int64) {
		t.Helper()
		before := slices.Clone(ints)
		got := takeStep(ints)
		for i := range ints {
			if got != want || ints[i]*got != before[i] {
				t.Fatalf("%v: step %d, want %d, leaves %v", before, got, want, ints)
			}
		}
	}
	f(1, 0, 0)
	f(4, 4, 8, 0, -12)
	f(1, 4, 8, 9)
	f(25, 0, 25, 75, 50)
	f(6, 12, 18)
	f(4096, 4096*3, -4096*5, 4096*1000001)
}
