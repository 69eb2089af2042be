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

// ours is RingStore's folder among the clusters.
const ours = "ringstore"

// format of a file.
type format int

const (
	jsonFormat format = iota
	binFormat         // the later of two with one time
	walFormat
)

// file is one that cc-metric-store wrote.
type file struct {
	path   string
	format format
	from   int64 // of its name, Unix seconds; the greatest for current.wal
}

// directories returns the names of the directories in dir, sorted, also of
// those behind a symbolic link.
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

// hostFiles returns what can be read in dir, oldest first.
func hostFiles(fsys fs.FS, dir string) ([]file, error) {
	entries, err := fs.ReadDir(fsys, dir)
	if err != nil {
		return nil, err
	}
	var files []file
	for _, e := range entries {
		f, ok := named(e.Name())
		if ok && kind(fsys, dir, e).IsRegular() { // to open a pipe would block
			f.path = path.Join(dir, e.Name())
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.format, b.format))
	})
	return files, nil
}

// kind is the mode of an entry, or of what it links to.
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

func named(name string) (file, bool) {
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

// span is what a checkpoint says it covers, in Unix seconds. A zero or
// impossible end means that it is not known.
type span struct{ from, to int64 }

func (s span) known() bool { return s.from >= 0 && s.to >= s.from && s.to > 0 && s.to <= maxTime }

// before reports that the checkpoint ends before a time.
func (s span) before(t int64) bool { return s.known() && s.to < t }

// jsonEnd is how cc-metric-store ends a JSON checkpoint.
var jsonEnd = regexp.MustCompile(`"to":\s*(\d{1,18})\s*\}\s*$`)

// jsonSpan finds the end of a JSON checkpoint, which stands at the end of the
// file, without reading what is before it.
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
