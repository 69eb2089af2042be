package configs

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Problem is one thing that is wrong with a configuration, or worth a warning. No secret of the file is in it.
type Problem struct {
	File    string
	Line    int    // of a syntax error, from 1; otherwise 0
	Column  int    // in bytes, from 1, with Line
	Key     string // path, such as metric-store.nats-subscriptions[1].subscribe-to; empty for the file as a whole
	Message string
}

// String is one line: file, key and what is wrong.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(printable(p.File))
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

// Errors is why a configuration did not load: everything that is wrong with it, never empty.
type Errors []Problem

// Error has one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// maxProblems bounds how many problems, and how many warnings, one file can cause to be kept.
const maxProblems = 100

// findings collects problems and warnings while a file is read.
type findings struct {
	problems problemList
	warnings problemList
	unusable map[string]bool   // keys whose value has the wrong type: what they hold is not looked at any further
	emptied  map[string]bool   // keys whose value is empty because its variables are
	files    map[string]string // keys that came from another file than what holds them
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

// skips says that the value at path is not to be checked: it, or what holds it, was already found wrong.
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

// fileOf is the file that gives the value at path, or that would have to.
func (f *findings) fileOf(path, main string) string {
	for p := range ancestors(path) {
		if file, found := f.files[p]; found {
			return file
		}
	}
	return main
}

// ancestors are path and the paths of what holds it, innermost first. Where a quoted key holds a dot or a bracket,
// paths of nothing are among them.
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

// quote shows a string of the file in a message: quoted, escaped and not longer than a line can bear.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(s[:maxQuoted]) + "..."
	}
	return strconv.Quote(s)
}

func printable(s string) string {
	if strings.ContainsFunc(s, unicode.IsControl) {
		return strconv.Quote(s)
	}
	return s
}
