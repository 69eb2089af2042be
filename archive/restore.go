package archive

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

// DamageError tells where a file does not hold what was written.
type DamageError struct {
	Path   string
	Offset int64 // of the record, in bytes
	Err    error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s: damaged at byte %d: %v", e.Path, e.Offset, e.Err)
}

func (e *DamageError) Unwrap() error { return e.Err }

// Restored counts what a restore brought back.
type Restored struct {
	Files, Hosts int
	Samples      memstore.Restored
}

// Restore brings the newest checkpoint back into the store. A damaged file
// costs its damaged hosts: it is logged, set aside as *.damaged, and the
// checkpoint before it is read too. An error is one of reading the directory.
func (a *Archive) Restore(ctx context.Context) (Restored, error) {
	var total Restored
	if err := disk.RemoveTemporary(disk.OS{}, a.dir); err != nil {
		return total, fmt.Errorf("restore: %w", err)
	}
	names, err := a.checkpoints()
	if err != nil {
		return total, fmt.Errorf("restore: %w", err)
	}
	for _, name := range names {
		path := filepath.Join(a.dir, name)
		err := a.restoreFile(ctx, path, &total)
		if errors.Is(err, memstore.ErrMemory) {
			a.log.Error("not all of the checkpoint fits into the memory", "error", err)
			break
		}
		if err == nil {
			break
		}
		if _, damaged := errors.AsType[*DamageError](err); !damaged {
			return total, fmt.Errorf("restore: %w", err)
		}
		a.log.Error("checkpoint is damaged, the one before it is read too", "error", err)
		if err := os.Rename(path, path+".damaged"); err != nil {
			return total, fmt.Errorf("restore: %w", err)
		}
	}
	a.gate.Lock()
	defer a.gate.Unlock()
	a.restored = true
	return total, nil
}

// restoreFile reads a file to its end and stores what is sound. The error
// joins a DamageError for each part that is not.
func (a *Archive) restoreFile(ctx context.Context, path string, total *Restored) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	total.Files++
	return readCheckpoint(ctx, path, f, func(h memstore.HostDump) error {
		r, err := a.store.Restore(h)
		total.Hosts++
		total.Samples.Stored += r.Stored
		total.Samples.Refused += r.Refused
		total.Samples.Unknown += r.Unknown
		return err
	})
}

func readCheckpoint(ctx context.Context, path string, f io.Reader, use func(memstore.HostDump) error) error {
	r := bufio.NewReaderSize(f, 1<<20)
	damage := func(offset int64, err error) error { return &DamageError{path, offset, err} }
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != magic {
		return damage(0, errors.New("not a checkpoint of a known version"))
	}
	var damages []error
	offset := int64(len(magic))
	var payload []byte
	for records := uint32(0); ; records++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		var rec [recordHead]byte
		if _, err := io.ReadFull(r, rec[:]); err != nil {
			return errors.Join(append(damages, damage(offset, readError(err)))...)
		}
		length, sum := binary.LittleEndian.Uint32(rec[:]), binary.LittleEndian.Uint32(rec[4:])
		if length == 0 {
			return errors.Join(append(damages, checkEnd(r, sum, records, func(err error) error { return damage(offset, err) }))...)
		}
		if length > maxRecord {
			return errors.Join(append(damages, damage(offset, fmt.Errorf("a record of %d bytes", length)))...)
		}
		var err error
		if payload, err = readInto(payload[:0], r, int(length)); err != nil {
			return errors.Join(append(damages, damage(offset, readError(err)))...)
		}
		h, err := parseRecord(payload, sum)
		if err == nil {
			if err := use(h); err != nil {
				return errors.Join(append(damages, err)...)
			}
		} else {
			damages = append(damages, damage(offset, err))
		}
		offset += recordHead + int64(length)
	}
}

func parseRecord(payload []byte, sum uint32) (memstore.HostDump, error) {
	if crc32.Checksum(payload, castagnoli) != sum {
		return memstore.HostDump{}, errors.New("the checksum is wrong")
	}
	return parseHost(payload)
}

func checkEnd(r io.Reader, sum, records uint32, damage func(error) error) error {
	var n [4]byte
	switch _, err := io.ReadFull(r, n[:]); {
	case err != nil:
		return damage(readError(err))
	case crc32.Checksum(n[:], castagnoli) != sum:
		return damage(errors.New("the checksum of the end record is wrong"))
	case binary.LittleEndian.Uint32(n[:]) != records:
		return damage(fmt.Errorf("%d records, the end record says %d", records, binary.LittleEndian.Uint32(n[:])))
	}
	return nil
}

// readInto reads n bytes in steps, so that a length that lies costs no more
// memory than the file has bytes.
func readInto(dst []byte, r io.Reader, n int) ([]byte, error) {
	for n > 0 {
		step := min(n, 1<<20)
		at := len(dst)
		dst = append(dst, make([]byte, step)...)
		if _, err := io.ReadFull(r, dst[at:]); err != nil {
			return dst, err
		}
		n -= step
	}
	return dst, nil
}

func readError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends before its end record")
	}
	return err
}
