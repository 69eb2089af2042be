package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"slices"
)

// FileName is the name of the index's file in the checkpoint directory.
const FileName = "jobs.rsj"

// File is the file that an index is saved in. Package archive/disk has an implementation.
type File interface {
	// Open opens the file for reading. The error is [fs.ErrNotExist] if there is none.
	Open() (fs.File, error)
	// Replace replaces the content with what write writes: as a whole or, after an error, not at all.
	// The new content is on disk when Replace returns.
	Replace(write func(io.Writer) error) error
	// SetAside renames the file, because it is damaged, and returns its new name.
	SetAside() (name string, err error)
}

// The numbers of FORMAT.md.
const (
	magic      = "RSJOBS\x00\x01"
	headerSize = 8 + 8 + 8 + 4
	recordHead = 4 + 4
	maxPayload = 64 << 20
	recordJobs = 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DamageError reports a damaged part of a file.
type DamageError struct {
	Offset int64 // of the header or record, in bytes
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("damaged at byte %d: %s", e.Offset, e.Reason)
}

// Save writes the index to a file. It blocks changes of the index, but no reads.
func (ix *Index) Save(file File) error {
	return file.Replace(func(w io.Writer) error {
		ix.write.Lock()
		defer ix.write.Unlock()
		return ix.encode(w)
	})
}

// encode writes all that stays; ix.write is held, so nothing changes but the
// moments, which are read first: to be asked again for a little is no harm.
func (ix *Index) encode(w io.Writer) error {
	ix.mu.RLock()
	t, polled, alive := ix.t, ix.polled, ix.alive
	ix.mu.RUnlock()
	head := append(make([]byte, 0, headerSize), magic...)
	head = binary.LittleEndian.AppendUint64(head, uint64(polled))
	head = binary.LittleEndian.AppendUint64(head, uint64(alive))
	head = binary.LittleEndian.AppendUint32(head, checksum(head))
	if _, err := w.Write(head); err != nil {
		return err
	}
	r := newRecord()
	for j, row := range t.all() {
		if row.flags&moved != 0 {
			continue
		}
		r.add(j, row)
		if r.jobs == recordJobs || len(r.body) > maxPayload/4 {
			if err := r.write(w); err != nil {
				return err
			}
		}
	}
	return r.write(w)
}

// record is one of a file in the making.
type record struct {
	jobs    int
	names   []byte
	numbers map[string]uint64
	body    []byte
}

func newRecord() *record { return &record{numbers: make(map[string]uint64)} }

func (r *record) name(s string) {
	n, ok := r.numbers[s]
	if !ok {
		n = uint64(len(r.numbers))
		r.numbers[s] = n
		r.names = append(binary.AppendUvarint(r.names, uint64(len(s))), s...)
	}
	r.body = binary.AppendUvarint(r.body, n)
}

func (r *record) uvarint(n int64) { r.body = binary.AppendUvarint(r.body, uint64(n)) }

func (r *record) add(j *Job, row *job) {
	r.jobs++
	r.body = binary.AppendVarint(r.body, j.ID)
	r.name(j.User)
	r.name(j.Project)
	r.name(j.Cluster)
	r.uvarint(j.Start)
	r.uvarint(j.End - j.Start)
	r.body = append(r.body, byte(row.flags&(open|live)))
	r.uvarint(int64(len(j.Nodes)))
	for _, n := range j.Nodes {
		r.name(n.Host)
		r.devices(n.Devices)
	}
}

func (r *record) devices(d *Devices) {
	if d == nil {
		r.uvarint(0)
		return
	}
	r.uvarint(int64(len(d.HWThreads)) + 1)
	last := 0
	for _, n := range d.HWThreads {
		r.uvarint(int64(n - last))
		last = n
	}
	r.uvarint(int64(len(d.Accelerators)))
	for _, a := range d.Accelerators {
		r.name(a)
	}
}

// write ends a record, if there is anything in it, and begins the next.
func (r *record) write(w io.Writer) error {
	if r.jobs == 0 {
		return nil
	}
	payload := binary.AppendUvarint(nil, uint64(len(r.numbers)))
	payload = append(payload, r.names...)
	payload = binary.AppendUvarint(payload, uint64(r.jobs))
	payload = append(payload, r.body...)
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	head = binary.LittleEndian.AppendUint32(head, recordSum(head, payload))
	r.jobs, r.names, r.body = 0, r.names[:0], r.body[:0]
	clear(r.numbers)
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func recordSum(length, payload []byte) uint32 {
	return crc32.Update(checksum(length[:4]), castagnoli, payload)
}

// Load adds the jobs that [Index.Save] wrote. Call it before any source reports jobs. A missing file
// is no error. After a [*DamageError] the undamaged records are loaded, and [Index.Polled] is 0, so that
// cc-backend is asked for all jobs again.
func (ix *Index) Load(file File) error {
	f, err := file.Open()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > math.MaxInt32 {
		return &DamageError{0, fmt.Sprintf("the file has %d bytes, more than the maximum of %d", info.Size(), math.MaxInt32)}
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return fmt.Errorf("reading %s: %w", FileName, err)
	}
	if err := ix.decode(b); err != nil {
		return fmt.Errorf("%s: %w", FileName, err)
	}
	return nil
}

func (ix *Index) decode(b []byte) error {
	if len(b) < headerSize || string(b[:8]) != magic {
		return &DamageError{0, "no header of a file of jobs, version 1"}
	}
	if binary.LittleEndian.Uint32(b[headerSize-4:]) != checksum(b[:headerSize-4]) {
		return &DamageError{0, "the header's checksum is wrong"}
	}
	polled, alive := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if polled > maxTime || alive > maxTime {
		return &DamageError{0, "a time of the header is out of range"}
	}
	var errs []error
	damage := func(at int, reason string) { errs = append(errs, &DamageError{int64(at), reason}) }
	for at := headerSize; at < len(b); {
		rest := b[at:]
		if len(rest) < recordHead {
			damage(at, "the file ends in a record")
			break
		}
		n := int(binary.LittleEndian.Uint32(rest))
		if n > maxPayload || n > len(rest)-recordHead {
			damage(at, "the file ends in a record")
			break
		}
		payload := rest[recordHead:][:n]
		if binary.LittleEndian.Uint32(rest[4:]) != recordSum(rest, payload) {
			damage(at, "a record's checksum is wrong")
		} else if err := ix.restore(payload); err != nil {
			damage(at, err.Error())
		}
		at += recordHead + n
	}
	if len(errs) > 0 {
		polled = 0
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.polled, ix.alive = int64(polled), int64(alive)
	return errors.Join(errs...)
}

// restore puts in the jobs of a record: all, or none.
func (ix *Index) restore(payload []byte) error {
	f := &fields{rest: payload}
	names := make([]string, f.count(1, "names"))
	for i := range names {
		names[i] = string(f.take(int(f.uvarint(maxName, "name")), "name"))
	}
	all := make([]Report, f.count(9, "jobs"))
	flags := make(map[Key]flags, len(all))
	for i := range all {
		j := &all[i]
		j.Job, j.Running = f.job(names, flags)
		j.At = j.End
		if f.err == nil {
			f.err = j.check(false)
		}
	}
	switch {
	case f.err != nil:
		return f.err
	case len(f.rest) > 0:
		return errors.New("bytes after the jobs")
	}
	return ix.change(all, func(at uint32, known bool, r *Report) uint32 {
		if known {
			return at
		}
		return ix.t.add(ix.seed, &r.Job, job{end: uint32(r.End), print: r.print(ix.seed), flags: flags[r.Key()]})
	})
}

func (f *fields) job(names []string, all map[Key]flags) (j Job, running bool) {
	j.ID = f.varint("job id")
	j.User, j.Project, j.Cluster = f.name(names), f.name(names), f.name(names)
	j.Start = int64(f.uvarint(maxTime, "start"))
	j.End = j.Start + int64(f.uvarint(maxTime, "end"))
	fl := flags(f.uvarint(uint64(open|live), "flags"))
	if fl == live {
		f.fail("flags")
	}
	all[j.Key()] = fl
	j.Nodes = make([]Node, f.count(2, "nodes"))
	for i := range j.Nodes {
		j.Nodes[i] = Node{f.name(names), f.devices(names)}
	}
	return j, fl&open != 0
}

func (f *fields) devices(names []string) *Devices {
	n := f.uvarint(maxDevices+1, "hwthreads")
	if n == 0 {
		return nil
	}
	if int(n-1) > len(f.rest) {
		f.fail("hwthreads")
		return nil
	}
	d := &Devices{}
	last := 0
	for range n - 1 {
		last += int(f.uvarint(maxThread, "hwthread"))
		d.HWThreads = append(d.HWThreads, last)
	}
	for range f.count(1, "accelerators") {
		d.Accelerators = append(d.Accelerators, f.name(names))
	}
	if !slices.IsSorted(d.Accelerators) {
		f.fail("accelerators")
	}
	return d
}

// fields takes fields off the front of bytes. After an error it takes nothing.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = errors.New("bad " + what)
	}
}

func (f *fields) uvarint(most uint64, what string) uint64 {
	v, n := binary.Uvarint(f.rest)
	if f.err != nil || n <= 0 || v > most {
		f.fail(what)
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) varint(what string) int64 {
	v, n := binary.Varint(f.rest)
	if f.err != nil || n <= 0 {
		f.fail(what)
		return 0
	}
	f.rest = f.rest[n:]
	return v
}

// count takes the number of things to come, each of which has at least size
// bytes.
func (f *fields) count(size int, what string) int {
	return int(f.uvarint(uint64(len(f.rest)/size), "number of "+what))
}

func (f *fields) take(n int, what string) []byte {
	if f.err != nil || n > len(f.rest) {
		f.fail(what)
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) name(names []string) string {
	if len(names) == 0 {
		f.fail("name")
		return ""
	}
	return names[f.uvarint(uint64(len(names)-1), "name")]
}
