package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/memstore"
)

const (
	filePrefix = "checkpoint-"
	fileSuffix = ".rsc"
	// kept is how many checkpoints stay: the newest, and one more in case it
	// is damaged.
	kept = 2
)

// Checkpoint writes all that the store holds to a new file, and then removes
// the files that it makes needless. Writes go on meanwhile.
func (a *Archive) Checkpoint() error {
	a.checkpointing.Lock()
	defer a.checkpointing.Unlock()
	begin := time.Now()
	var size, hosts int
	name := fmt.Sprintf("%s%013d%s", filePrefix, a.now().UnixMilli(), fileSuffix)
	err := disk.Publish(disk.OS{}, filepath.Join(a.dir, name), func(w io.Writer) error {
		var err error
		size, hosts, err = writeCheckpoint(w, a.store)
		return err
	})
	if err != nil {
		return err
	}
	a.log.Info("checkpoint written", "file", name, "hosts", hosts, "bytes", size, "took", time.Since(begin))
	return a.removeOld()
}

func writeCheckpoint(w io.Writer, s *memstore.Store) (size, hosts int, err error) {
	write := func(b []byte) error {
		n, err := w.Write(b)
		size += n
		return err
	}
	if err := write([]byte(magic)); err != nil {
		return size, hosts, err
	}
	var record []byte
	err = s.Dump(func(h memstore.HostDump) error {
		record = appendHost(append(record[:0], make([]byte, recordHead)...), h)
		payload := record[recordHead:]
		if len(payload) > maxRecord {
			return fmt.Errorf("host %s/%s is too large for a record: %d bytes", h.Cluster, h.Host, len(payload))
		}
		binary.LittleEndian.PutUint32(record, uint32(len(payload)))
		binary.LittleEndian.PutUint32(record[4:], crc32.Checksum(payload, castagnoli))
		hosts++
		return write(record)
	})
	if err != nil {
		return size, hosts, err
	}
	return size, hosts, write(endRecord(hosts))
}

func endRecord(records int) []byte {
	var end [12]byte
	binary.LittleEndian.PutUint32(end[8:], uint32(records))
	binary.LittleEndian.PutUint32(end[4:], crc32.Checksum(end[8:], castagnoli))
	return end[:]
}

// checkpoints returns the names of the checkpoint files, newest first.
func (a *Archive) checkpoints() ([]string, error) {
	entries, err := os.ReadDir(a.dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), filePrefix) && strings.HasSuffix(e.Name(), fileSuffix) {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

func (a *Archive) removeOld() error {
	names, err := a.checkpoints()
	if err != nil || len(names) <= kept {
		return err
	}
	for _, name := range names[kept:] {
		err = errors.Join(err, os.Remove(filepath.Join(a.dir, name)))
	}
	return err
}
