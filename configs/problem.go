package configs

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Problem is an error in a configuration, or a warning about it. It contains no secret of the file.
type Problem struct {
	File    string
	Line    int    // of a syntax error, from 1; 0 for other problems
	Column  int    // in bytes, from 1, with Line
	Key     string // path, such as metric-store.nats-subscriptions[1].subscribe-to; empty for the file as a whole
	Message string
}

// String returns one line: file, position, key and message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(Printable(p.File))
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	if p.Key != "" {
		b.WriteString(": ")
		b.WriteString(p.Key)
	}
	b.WriteString(": ")
	b.WriteString(p.Message)
	return b.String()
}

// Errors are all errors in a configuration. It is never empty.
type Errors []Problem

// Error returns one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems is the maximum number of errors, and of warnings, that are kept.
const maxProblems = 100

// findings collects problems and warnings while a file is read.
type findings struct {
	problems problemList
	warnings problemList
	// unknownSections are shown beside errors: a misspelled name is often why something is missing.
	unknownSections []Problem

	unusable map[string]bool   // keys whose value has the wrong type and is not checked any further
	emptied  map[string]bool   // keys whose value is empty after its variables were replaced
	files    map[string]string // files of keys that are not in the same file as their parent
}

// problemList keeps the first maxProblems and counts the rest.
type problemList struct {
	kept []Problem
	more int
}

func (l *problemList) add(p Problem) {
	if l.full() {
		l.more++
		return
	}
	l.kept = append(l.kept, p)
}

func (l *problemList) full() bool { return len(l.kept) >= maxProblems }

func (l *problemList) has(key string) bool {
	return slices.ContainsFunc(l.kept, func(p Problem) bool { return p.Key == key })
}

func (l *problemList) list(file string) []Problem {
	if l.more == 0 {
		return l.kept
	}
	return append(l.kept, Problem{File: file, Message: fmt.Sprintf("%d more are not shown", l.more)})
}

// wrongType reports a value of the wrong type.
func (f *findings) wrongType(path string, n node, want string) {
	f.unusable[path] = true
	f.problems.add(Problem{File: n.file, Key: path, Message: fmt.Sprintf("expected %s; got %s", want, typeNames[n.kind])})
}

// skips reports whether the value at path needs no check, because it or its parent is wrong
// already.
func (f *findings) skips(path string) bool {
	if f.problems.has(path) {
		return true
	}
	for p := range ancestors(path) {
		if f.unusable[p] {
			return true
		}
	}
	return false
}

// fileOf returns the file with the value at path or, if the value is missing, with its parent.
func (f *findings) fileOf(path, main string) string {
	for p := range ancestors(path) {
		if file, found := f.files[p]; found {
			return file
		}
	}
	return main
}

// ancestors yields path and the paths of its parents, innermost first. A dot or a bracket in a
// quoted key adds paths that do not exist, which does no harm.
func ancestors(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for path != "" && yield(path) {
			path = path[:max(0, strings.LastIndexAny(path, ".["))]
		}
	}
}

// joinKey appends an object's key to a path.
func joinKey(path, key string) string {
	switch {
	case !plainKey(key):
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

func joinIndex(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func plainKey(key string) bool {
	return key != "" && len(key) <= maxQuoted && !strings.ContainsFunc(key, func(r rune) bool {
		return r != '-' && r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	})
}

const maxQuoted = 64 // bytes

// quote returns a string of the file for a message: quoted, escaped and cut to maxQuoted bytes.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}

// Printable returns s for a log or a terminal: quoted and escaped if it has unprintable characters,
// such as those that move the cursor or change the direction of text.
func Printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, notPrintable) {
		return strconv.Quote(s)
	}
	return s
}

func notPrintable(r rune) bool { return !unicode.IsPrint(r) }
