package archive

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/ringstore/ringstore/archive/blockfile"
	"github.com/ringstore/ringstore/archive/disk"
	"github.com/ringstore/ringstore/archive/journal"
)

const (
	manifestPrefix  = "MANIFEST-"
	manifestVersion = 1
	keptManifests   = 2
	keptWindows     = 2 // files
)

// manifest lists the files of a directory. FORMAT.md describes its file.
type manifest struct {
	Version    int       `json:"version"`
	Store      uuid.UUID `json:"store"`
	Generation uint64    `json:"generation"`
	Run        uint64    `json:"run"` // no older run is unfinished

	Clock *manifestClock `json:"clock,omitempty"`
	// JournalFrom is the number of the first journal segment that must be there. Windows files may
	// need later ones only.
	JournalFrom uint64            `json:"journal-from"`
	Journal     []manifestSegment `json:"journal"` // oldest first
	Windows     []manifestFile    `json:"windows"` // newest first
	Blocks      []manifestFile    `json:"blocks"`

	Marks *storedMarks `json:"marks"` // nil in older manifests
}

// manifestClock has the times of [guard.Clock], in Unix milliseconds.
type manifestClock struct {
	Now    int64 `json:"now"`
	Latest int64 `json:"latest"`
}

type manifestSegment struct {
	Number  uint64 `json:"number"`
	Salt    string `json:"salt"`              // hexadecimal
	Created int64  `json:"created,omitempty"` // Unix milliseconds
}

// manifestFile is a block or windows file.
type manifestFile struct {
	Name  string `json:"name"` // relative to the directory of its kind
	Bytes int64  `json:"bytes"`
	Sum   string `json:"sum"` // [blockfile.File.Sum], hexadecimal; empty: unknown
	// From and To are the time range of the samples, in Unix seconds.
	From int64 `json:"from,omitempty"`
	To   int64 `json:"to,omitempty"`
	// Journal is the first segment to replay after a windows file.
	Journal uint64 `json:"journal,omitempty"`
}

func sumText(sum uint32) string {
	if sum == 0 {
		return ""
	}
	return fmt.Sprintf("%08x", sum)
}

func manifestName(generation uint64) string {
	return fmt.Sprintf("%s%012d", manifestPrefix, generation)
}

// parseManifestName returns the generation in a file's name.
func parseManifestName(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, manifestPrefix)
	generation, err := strconv.ParseUint(digits, 10, 64)
	return generation, ok && err == nil && name == manifestName(generation)
}

// append appends the manifest's file: a JSON document and a line with its checksum.
func (m *manifest) append(dst []byte) ([]byte, error) {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return dst, err
	}
	dst = append(append(dst, text...), '\n')
	return fmt.Appendf(dst, "crc32c %08x\n", crc32.Checksum(dst, crc32.MakeTable(crc32.Castagnoli))), nil
}

// parseManifest parses a manifest's file.
func parseManifest(content []byte) (*manifest, error) {
	const sumLine = len("crc32c 01234567\n")
	text, line := content[:max(len(content)-sumLine, 0)], content[max(len(content)-sumLine, 0):]
	if !bytes.Equal(line, fmt.Appendf(nil, "crc32c %08x\n", crc32.Checksum(text, crc32.MakeTable(crc32.Castagnoli)))) {
		return nil, errors.New("the checksum in the last line does not match")
	}
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Version != manifestVersion {
		return nil, &manifestVersionError{m.Version}
	}
	return &m, nil
}

type manifestVersionError struct{ version int }

func (e *manifestVersionError) Error() string {
	return fmt.Sprintf("expected a manifest of version %d, got %d", manifestVersion, e.version)
}

// lineage returns what the manifest says about the journal.
func (m *manifest) lineage() journal.Lineage {
	l := journal.Lineage{Store: m.Store, From: m.JournalFrom, Known: []journal.SegmentName{}}
	for _, s := range m.Journal {
		salt, _ := strconv.ParseUint(s.Salt, 16, 32)
		n := journal.SegmentName{Number: s.Number, Salt: uint32(salt)}
		if s.Created > 0 {
			n.Created = time.UnixMilli(s.Created)
		}
		l.Known = append(l.Known, n)
	}
	return l
}

// blocksByName returns the block files by name.
func (m *manifest) blocksByName() map[string]manifestFile {
	all := make(map[string]manifestFile)
	if m != nil {
		for _, f := range m.Blocks {
			all[f.Name] = f
		}
	}
	return all
}

// windowsNamed returns the windows file of a name.
func (m *manifest) windowsNamed(name string) (manifestFile, bool) {
	if m == nil {
		return manifestFile{}, false
	}
	i := slices.IndexFunc(m.Windows, func(f manifestFile) bool { return f.Name == name })
	if i < 0 {
		return manifestFile{}, false
	}
	return m.Windows[i], true
}

// extend extends the time range by the windows of hosts.
func (f *manifestFile) extend(hosts ...blockfile.HostIndex) {
	for _, h := range hosts {
		for _, l := range h.Lanes {
			for _, w := range l.Windows {
				from, to := l.Grid+w.First*l.Frequency, l.Grid+(w.First+int64(w.Slots))*l.Frequency
				if f.To == 0 {
					f.From, f.To = from/1000, to/1000
				}
				f.From, f.To = min(f.From, from/1000), max(f.To, to/1000)
			}
		}
	}
}

// publishManifest publishes the next generation. It lists some new block files and those of the
// catalog except the ones for which without, if not nil, returns true. checkpointMu must be held.
func (a *Archive) publishManifest(segments []journal.SegmentName, added []*file, without func(*file) bool) error {
	m := manifest{
		Version: manifestVersion, Store: a.storeID, Generation: a.generation + 1, Run: a.run,
		JournalFrom: a.journalFrom, Windows: append([]manifestFile{}, a.windows...),
		Journal: []manifestSegment{}, Blocks: []manifestFile{}, Clock: a.clockTimes(), Marks: a.marks.stored(),
	}
	for _, s := range segments {
		if s.Number < a.journalFrom {
			continue
		}
		x := manifestSegment{Number: s.Number, Salt: fmt.Sprintf("%08x", s.Salt)}
		if !s.Created.IsZero() {
			x.Created = s.Created.UnixMilli()
		}
		m.Journal = append(m.Journal, x)
	}
	for _, f := range added {
		m.Blocks = append(m.Blocks, f.listed)
	}
	for f := range a.catalog.files {
		if without == nil || !without(f) {
			m.Blocks = append(m.Blocks, f.listed)
		}
	}
	slices.SortFunc(m.Blocks, func(a, b manifestFile) int { return strings.Compare(a.Name, b.Name) })
	content, err := m.append(nil)
	if err != nil {
		return err
	}
	path := filepath.Join(a.dir, manifestName(m.Generation))
	err = disk.Publish(a.FS, path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
	if _, statErr := a.FS.Stat(path); err == nil || !errors.Is(statErr, fs.ErrNotExist) {
		a.generation = m.Generation // after an error, it may be valid
	}
	if err != nil {
		return err
	}
	a.manifest.Store(m.Generation)
	return errors.Join(a.removeManifests(), a.removeMarks())
}

// removeMarks removes the file of marks once all manifests that are kept have them.
func (a *Archive) removeMarks() error {
	if a.oldMarks--; a.oldMarks != 0 {
		return nil
	}
	if err := a.FS.Remove(filepath.Join(a.dir, marksName)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeManifests removes the manifests of all generations but the newest.
func (a *Archive) removeManifests() error {
	entries, err := disk.List(a.FS, a.dir)
	for _, e := range entries {
		if g, ok := parseManifestName(e.Name()); ok && g+keptManifests <= a.generation {
			err = errors.Join(err, a.FS.Remove(filepath.Join(a.dir, e.Name())))
		}
	}
	return err
}
