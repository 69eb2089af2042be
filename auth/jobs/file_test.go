package jobs

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/auth/jobs/jobstest"
	"github.com/ringstore/ringstore/memstore/binfmt"
)

var update = flag.Bool("update", false, "write the golden files")

func encoded(t testing.TB, ix *Index) []byte {
	t.Helper()
	var b bytes.Buffer
	ok(t, ix.encode(&b))
	return b.Bytes()
}

func reloaded(t testing.TB, ix *Index, c *clock) *Index {
	t.Helper()
	again := c.index()
	ok(t, again.decode(encoded(t, ix)))
	return again
}

// all returns the jobs of an index as text, sorted.
func all(ix *Index) (list []string) {
	for j, row := range ix.t.all() {
		text := fmt.Sprint(j.Key(), j.User, j.Project, j.End, row.flags)
		for _, n := range j.Nodes {
			text += n.Host
			if n.Devices != nil {
				text += fmt.Sprint(*n.Devices)
			}
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list
}

func example(t testing.TB) *Index {
	ix := new(clock).index()
	shared := jobOn("cleo", -3, base-10, base, "e0104")
	shared.Project = ""
	shared.Nodes[0].Devices = &Devices{HWThreads: []int{0, 1, 36}, Accelerators: []string{"00000000:49:00.0"}}
	ok(t, ix.Apply(
		Report{Job: jobOn("ann", 1, base-1000, base-500, "e0101", "e0102")},
		Report{jobOn("bob", 2, base-100, 0, "e0103"), true, base - 30},
		Report{Job: shared},
	))
	ix.markAlive(base - 50)
	ok(t, NewEvents(ix, nil).apply(nil, "start_job", []byte(`{"jobId":4,"user":"dan","cluster":"emmy","startTime":1795199900,"resources":[{"hostname":"e0105","hwthreads":[]}],"shared":"multi_user"}`)))
	ix.SetLastPoll(base - 30)
	ix.markAlive(base - 5)
	return ix
}

// Files of version 1, which FORMAT.md describes, stay readable, and the writer writes the same
// bytes.
func TestGolden(t *testing.T) {
	golden := filepath.Join("testdata", "v1", "example.rsj")
	want := example(t)
	if *update {
		ok(t, os.MkdirAll(filepath.Dir(golden), 0o755))
		ok(t, os.WriteFile(golden, encoded(t, want), 0o644))
	}
	file, err := os.ReadFile(golden)
	ok(t, err)
	if made := encoded(t, want); !bytes.Equal(file, made) {
		t.Errorf("expected\n%x, got\n%x", file, made)
	}
	got := new(clock).index()
	ok(t, got.Load(&jobstest.File{Content: file}))
	if got.LastPoll() != base-30 || got.aliveAt != base-5 {
		t.Errorf("polled %d, alive %d", got.LastPoll(), got.aliveAt)
	}
	for _, f := range []struct{ user, host, want string }{
		{"ann", "e0102", "[-1000 -500)"},
		{"bob", "e0103", "[-100 -30)"},
		{"cleo", "e0104", "[-10 0)[0 1 36] [00000000:49:00.0]"},
		{"dan", "e0105", "[-100 open)[] []"},
		{"dan", "e0101", ""},
	} {
		if text := seen(got.own(f.user), f.host); text != f.want {
			t.Errorf("%s sees of %s %s, want %s", f.user, f.host, text, f.want)
		}
	}
	if n := got.Size(); n.Open != 2 || n.Jobs != 4 {
		t.Errorf("%+v", n)
	}
}

// twoRecords returns a file of two records and the offset of the second.
func twoRecords(t testing.TB) (file []byte, second int) {
	r := rand.New(rand.NewPCG(2, 2))
	ix := new(clock).index()
	for id := range int64(recordJobs + 5) {
		ok(t, ix.Apply(Report{Job: jobOn(fmt.Sprintf("u%d", r.IntN(3)), id, base-id-1, base, "h1")}))
	}
	file = encoded(t, ix)
	return file, headerSize + recordHead + int(binary.LittleEndian.Uint32(file[headerSize:]))
}

// A flipped bit is always noticed. It loses its record or, in the header, all jobs.
func TestFlippedBitAtEveryByte(t *testing.T) {
	file := encoded(t, example(t))
	for at := range file {
		damaged := bytes.Clone(file)
		damaged[at] ^= 1 << (at % 8)
		ix := new(clock).index()
		err := ix.decode(damaged)
		if damage, is := errors.AsType[*binfmt.DamageError](err); !is || damage.Offset != int64(headerSize)*int64(min(1, at/headerSize)) || ix.Size().Jobs > 0 || ix.LastPoll() != 0 {
			t.Fatalf("byte %d: %v, %+v, polled %d", at, err, ix.Size(), ix.LastPoll())
		}
	}
}

func TestTruncationAtEveryByte(t *testing.T) {
	file := encoded(t, example(t))
	for size := range file {
		if size == headerSize {
			continue // the file of an empty index
		}
		ix := new(clock).index()
		if err := ix.decode(file[:size]); err == nil || ix.Size().Jobs > 0 {
			t.Fatalf("%d bytes: %v, %+v", size, err, ix.Size())
		}
	}
}

func TestDamage(t *testing.T) {
	file, second := twoRecords(t)
	f := func(name string, damage func(b []byte) []byte, jobs int, offsets ...int64) {
		t.Run(name, func(t *testing.T) {
			ix := new(clock).index()
			err := ix.decode(damage(bytes.Clone(file)))
			var got []int64
			for _, line := range unwrapped(err) {
				damage, is := errors.AsType[*binfmt.DamageError](line)
				if !is {
					t.Fatal(line)
				}
				got = append(got, damage.Offset)
			}
			if ix.Size().Jobs != jobs || !slices.Equal(got, offsets) {
				t.Errorf("%d jobs, damage at %d; want %d, %d", ix.Size().Jobs, got, jobs, offsets)
			}
		})
	}
	f("nothing", func(b []byte) []byte { return b }, recordJobs+5)
	f("an empty file", func([]byte) []byte { return nil }, 0, 0)
	f("another version", func(b []byte) []byte { b[7] = 2; return b }, 0, 0)
	f("a damaged first record", func(b []byte) []byte { b[second-1]++; return b }, 5, headerSize)
	f("a damaged second record", func(b []byte) []byte { b[second+recordHead]++; return b }, recordJobs, int64(second))
	f("a truncated second record", func(b []byte) []byte { return b[:len(b)-1] }, recordJobs, int64(second))
	f("a missing second record", func(b []byte) []byte { return b[:second] }, recordJobs)
	f("a record twice", func(b []byte) []byte { return append(b, b[second:]...) }, recordJobs+5)
	f("a long length", func(b []byte) []byte { b[second+3] = 0xff; return b }, recordJobs, int64(second))
	f("bytes after the end", func(b []byte) []byte { return append(b, "more"...) }, recordJobs+5, int64(len(file)))
	f("zeros after the end", func(b []byte) []byte { return append(b, make([]byte, 8)...) }, recordJobs+5, int64(len(file)))
}

func unwrapped(err error) []error {
	if many, is := err.(interface{ Unwrap() []error }); is {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// FuzzDecode reads hostile files, as they are and with correct checksums. The result is an error or
// an index of valid jobs.
func FuzzDecode(f *testing.F) {
	file := encoded(f, example(f))
	f.Add(file)
	f.Add(file[:headerSize])
	f.Add(append(bytes.Clone(file), 0, 0, 0, 0, 0, 0, 0, 0))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, text := range [][]byte{b, resummed(b)} {
			ix := new(clock).index()
			_ = ix.decode(text)
			for j := range ix.t.all() {
				if err := j.check(false); err != nil {
					t.Fatal(err)
				}
			}
			again := reloaded(t, ix, new(clock))
			if a, b := all(ix), all(again); !slices.Equal(a, b) {
				t.Fatalf("%v, and after saving %v", a, b)
			}
		}
	})
}

// resummed sets the checksums of header and records.
func resummed(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < headerSize {
		return b
	}
	sum := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	sum(headerSize-4, binfmt.Checksum(b[:headerSize-4]))
	for at := headerSize; at+recordHead <= len(b); {
		n := int(binary.LittleEndian.Uint32(b[at:]))
		if n > len(b)-at-recordHead {
			break
		}
		sum(at+4, recordChecksum(b[at:], b[at+recordHead:][:n]))
		at += recordHead + n
	}
	return b
}

// After a failed Save the file has its old content: an error of a write reaches [File.Replace].
func TestSave(t *testing.T) {
	file := new(jobstest.File)
	ix := example(t)
	ok(t, ix.Save(file))
	for n := range 20 {
		old := all(reloaded(t, ix, new(clock)))
		ok(t, ix.Apply(Report{Job: jobOn("eve", int64(n+100), base-1, base, "h1")}))
		file.Err, file.FailAfter = syscall.ENOSPC, n*len(file.Content)/20
		if err := ix.Save(file); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("%d bytes fit: %v", file.FailAfter, err)
		}
		file.Err = nil
		again := new(clock).index()
		ok(t, again.Load(file))
		if got := all(again); !slices.Equal(got, old) {
			t.Fatalf("%d bytes fit: %d jobs, want the old %d", file.FailAfter, len(got), len(old))
		}
		ok(t, ix.Save(file))
		again = new(clock).index()
		ok(t, again.Load(file))
		if got := all(again); !slices.Equal(got, all(reloaded(t, ix, new(clock)))) {
			t.Fatalf("%d jobs after saving", len(got))
		}
	}
	ok(t, new(clock).index().Load(new(jobstest.File)))
}
