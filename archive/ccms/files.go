package ccms

import (
	"cmp"
	"io"
	"io/fs"
	"math"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ringStoreDir is RingStore's own directory beside those of the clusters.
const ringStoreDir = "ringstore"

// format is the format of a file. Of two files with the same time the higher format is read later.
type format int

const (
	jsonFormat format = iota
	binFormat
	walFormat
)

// file is a file of cc-metric-store.
type file struct {
	path   string
	format format
	from   int64 // the time in its name, Unix seconds; the highest for current.wal
}

// directories returns the names of the directories in dir, sorted. It follows symbolic links.
func directories(fsys fs.FS, dir string) ([]string, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if kind(fsys, dir, e).IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// hostFiles returns the files of cc-metric-store in dir, oldest first.
func hostFiles(fsys fs.FS, dir string) ([]file, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		f, ok := parseName(e.Name())
		if ok && kind(fsys, dir, e).IsRegular() { // opening a pipe would block
			f.path = path.Join(dir, e.Name())
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.format, b.format))
	})
	return files, nil
}

// kind returns the mode of an entry; for a symbolic link, that of its target.
func kind(fsys fs.FS, dir string, e fs.DirEntry) fs.FileMode {
	if e.Type()&fs.ModeSymlink == 0 {
		return e.Type()
	}
	info, err := fs.Stat(fsys, path.Join(dir, e.Name()))
	if err != nil {
		return fs.ModeIrregular
	}
	return info.Mode()
}

func parseName(name string) (file, bool) {
	if name == "current.wal" {
		return file{format: walFormat, from: math.MaxInt64}, true
	}
	number, suffix, _ := strings.Cut(name, ".")
	from, err := strconv.ParseInt(number, 10, 64)
	if err != nil || from < 0 {
		return file{}, false
	}
	switch suffix {
	case "json":
		return file{format: jsonFormat, from: from}, true
	case "bin":
		return file{format: binFormat, from: from}, true
	}
	return file{}, false
}

// span is the time range that a checkpoint claims to cover, in Unix seconds. A zero or impossible
// end means that it is unknown.
type span struct{ from, to int64 }

func (s span) known() bool { return s.from >= 0 && s.to >= s.from && s.to > 0 && s.to <= maxTime }

// before reports whether the checkpoint is known to end before a time.
func (s span) before(t int64) bool { return s.known() && s.to < t }

// jsonEnd is how cc-metric-store ends a JSON checkpoint.
var jsonEnd = regexp.MustCompile(`"to":\s*(\d{1,18})\s*\}\s*$`)

// jsonSpan returns the time range of a JSON checkpoint. It reads only the end of the file, where
// cc-metric-store writes "to".
func jsonSpan(f fs.File, size, from int64) span {
	at, ok := f.(io.ReaderAt)
	if !ok {
		return span{from: from}
	}
	tail := make([]byte, min(size, 64))
	if _, err := at.ReadAt(tail, size-int64(len(tail))); err != nil && err != io.EOF {
		return span{from: from}
	}
	m := jsonEnd.FindSubmatch(tail)
	if m == nil {
		return span{from: from}
	}
	to, _ := strconv.ParseInt(string(m[1]), 10, 64) // the digits fit
	return span{from: from, to: to}
}
