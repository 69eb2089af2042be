package jobs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

// FileName is the name of the index's file in the checkpoint directory.
const FileName = "jobs.rsj"

// File is the file that an index is saved in. Package archive/disk has an implementation.
type File interface {
	// Open opens the file for reading. The error is [fs.ErrNotExist] if there is none.
	Open() (fs.File, error)
	// Replace replaces the content with what write writes: as a whole or, after an error, not at
	// all. The new content is on disk when Replace returns.
	Replace(write func(io.Writer) error) error
	// SetAside renames the file, because it is damaged, and returns its new name.
	SetAside() (name string, err error)
}

// The numbers of FORMAT.md, and how many jobs a record gets.
const (
	magic      = "RSJOBS\x00\x01"
	headerSize = 8 + 8 + 8 + 4
	recordHead = 4 + 4
	maxPayload = 64 << 20
	recordJobs = 4096
)

// Save writes the index to a file. It blocks changes of the index, but no reads.
func (ix *Index) Save(file File) error {
	return file.Replace(func(w io.Writer) error {
		ix.write.Lock()
		defer ix.write.Unlock()
		return ix.encode(w)
	})
}

// encode writes all jobs that were not replaced. The caller holds ix.write, so only the two times
// of the header can change meanwhile. They are read first: if they are a little too old, the
// next poll only reads a little more.
func (ix *Index) encode(w io.Writer) error {
	ix.mu.RLock()
	t, lastPoll, aliveAt := ix.t, ix.lastPoll, ix.aliveAt
	ix.mu.RUnlock()
	head := append(make([]byte, 0, headerSize), magic...)
	head = binary.LittleEndian.AppendUint64(head, uint64(lastPoll))
	head = binary.LittleEndian.AppendUint64(head, uint64(aliveAt))
	head = binary.LittleEndian.AppendUint32(head, binfmt.Checksum(head))
	if _, err := w.Write(head); err != nil {
		return err
	}
	r := newRecord()
	for j, row := range t.all() {
		if row.flags&replaced != 0 {
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

// record collects the jobs of one record.
type record struct {
	jobs    int
	names   []byte
	numbers map[string]uint64 // of the names
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
	r.body = append(r.body, byte(row.flags&(open|live|superseded)))
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

// write writes the record, unless it is empty, and starts the next one.
func (r *record) write(w io.Writer) error {
	if r.jobs == 0 {
		return nil
	}
	payload := binary.AppendUvarint(nil, uint64(len(r.numbers)))
	payload = append(payload, r.names...)
	payload = binary.AppendUvarint(payload, uint64(r.jobs))
	payload = append(payload, r.body...)
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	head = binary.LittleEndian.AppendUint32(head, recordChecksum(head, payload))
	r.jobs, r.names, r.body = 0, r.names[:0], r.body[:0]
	clear(r.numbers)
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

func recordChecksum(length, payload []byte) uint32 {
	return binfmt.UpdateChecksum(binfmt.Checksum(length[:4]), payload)
}

// Load adds the jobs that [Index.Save] wrote. Call it before any source reports jobs. A missing
// file is no error. After a [*binfmt.DamageError] the undamaged records are loaded, and
// [Index.LastPoll] is 0, so that the next poll reads all jobs.
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
		return binfmt.Damagef(0, "expected at most %d bytes, got a file of %d", math.MaxInt32, info.Size())
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
		return binfmt.Damagef(0, "expected the header of a job file, version 1")
	}
	if binary.LittleEndian.Uint32(b[headerSize-4:]) != binfmt.Checksum(b[:headerSize-4]) {
		return binfmt.Damagef(0, "the checksum of the header does not match")
	}
	lastPoll, aliveAt := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if lastPoll > maxTime || aliveAt > maxTime {
		return binfmt.Damagef(0, "header: expected times of at most %d, got %d and %d", maxTime, lastPoll, aliveAt)
	}
	var errs []error
	for at := headerSize; at < len(b); {
		rest := b[at:]
		if len(rest) < recordHead {
			errs = append(errs, binfmt.Damagef(int64(at), "the file ends inside a record"))
			break
		}
		n := int(binary.LittleEndian.Uint32(rest))
		if n > maxPayload || n > len(rest)-recordHead {
			errs = append(errs, binfmt.Damagef(int64(at), "the file ends inside a record"))
			break
		}
		payload := rest[recordHead:][:n]
		if binary.LittleEndian.Uint32(rest[4:]) != recordChecksum(rest, payload) {
			errs = append(errs, binfmt.Damagef(int64(at), "the checksum of the record does not match"))
		} else if err := ix.restore(payload, int64(at+recordHead)); err != nil {
			errs = append(errs, err)
		}
		at += recordHead + n
	}
	if len(errs) > 0 {
		lastPoll = 0
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.lastPoll, ix.aliveAt = int64(lastPoll), int64(aliveAt)
	return errors.Join(errs...)
}

// restore adds the jobs of the record whose payload is at an offset: all or, after an error, none.
func (ix *Index) restore(payload []byte, offset int64) error {
	p := payloadReader{Reader: binfmt.NewReader(payload, offset)}
	p.names = make([]string, p.Count(1, "names"))
	for i := range p.names {
		p.names[i] = p.String(0, maxName, "name")
	}
	all := make([]Report, p.Count(9, "jobs"))
	flags := make(map[Key]flags, len(all))
	for i := 0; i < len(all) && p.Err() == nil; i++ {
		job, f := p.job()
		all[i].Job, flags[job.Key()] = job, f
		if err := job.check(false); err != nil {
			p.Fail("%v", err)
		}
	}
	p.Finish("jobs")
	if err := p.Err(); err != nil {
		return err
	}
	err := ix.change(all, func(at uint32, known bool, r *Report) uint32 {
		if known {
			return at
		}
		return ix.t.add(ix.seed, &r.Job, job{end: uint32(r.End), fingerprint: r.fingerprint(ix.seed), flags: flags[r.Key()]})
	})
	if err != nil {
		return binfmt.Damagef(offset, "%v", err)
	}
	return nil
}

// payloadReader reads the payload of a record.
type payloadReader struct {
	binfmt.Reader
	names []string
}

func (p *payloadReader) job() (Job, flags) {
	j := Job{ID: p.Varint(math.MinInt64, math.MaxInt64, "job id")}
	j.User, j.Project, j.Cluster = p.name("user"), p.name("project"), p.name("cluster")
	j.Start = int64(p.Uvarint(0, maxTime, "start"))
	j.End = j.Start + int64(p.Uvarint(0, maxTime, "duration"))
	flags := flags(p.Uvarint(0, uint64(open|superseded), "flags"))
	if flags&open == 0 && flags != 0 {
		p.Fail("flags: expected 0, 1, 3 or 5, got %d", flags)
	}
	j.Nodes = make([]Node, p.Count(2, "nodes"))
	for i := range j.Nodes {
		j.Nodes[i] = Node{p.name("host"), p.devices()}
	}
	return j, flags
}

func (p *payloadReader) devices() *Devices {
	n := int(p.Uvarint(0, maxDevices+1, "number of hwthreads"))
	if n == 0 {
		return nil
	}
	if n-1 > len(p.Rest) {
		p.Fail("number of hwthreads: expected at most %d, got %d", len(p.Rest), n-1)
		return nil
	}
	d := &Devices{}
	last := 0
	for range n - 1 {
		last += int(p.Uvarint(0, maxThread, "hwthread"))
		d.HWThreads = append(d.HWThreads, last)
	}
	for range p.Count(1, "accelerators") {
		d.Accelerators = append(d.Accelerators, p.name("accelerator"))
	}
	if !slices.IsSorted(d.Accelerators) {
		p.Fail("accelerators: expected sorted names")
	}
	return d
}

func (p *payloadReader) name(what string) string {
	if len(p.names) == 0 {
		p.Fail("%s: expected a name, got a record without names", what)
		return ""
	}
	return p.names[p.Uvarint(0, uint64(len(p.names)-1), what)]
}
