package blockfile

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is how long a name may be, in bytes: the most that limits.name-bytes
// can be set to.
const maxName = 1<<16 - 1

// fields takes fields off the front of bytes. After an error it takes nothing,
// and what it returns is the least that could be.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf(format, args...)
	}
}

func (f *fields) uvarint(least, most uint64, what string) uint64 {
	v, n := binary.Uvarint(f.rest)
	if f.err != nil || n <= 0 || v < least || v > most {
		f.fail("bad %s", what)
		return least
	}
	f.rest = f.rest[n:]
	return v
}

func (f *fields) varint(least, most int64, what string) int64 {
	v, n := binary.Varint(f.rest)
	if f.err != nil || n <= 0 || v < least || v > most {
		f.fail("bad %s", what)
		return least
	}
	f.rest = f.rest[n:]
	return v
}

// count takes the number of things to come, each of which has at least size
// bytes.
func (f *fields) count(size int, what string) int {
	return int(f.uvarint(0, uint64(len(f.rest)/size), "number of "+what))
}

func (f *fields) take(n int, what string) []byte {
	if f.err != nil || n > len(f.rest) {
		f.fail("bad %s", what)
		return nil
	}
	b := f.rest[:n]
	f.rest = f.rest[n:]
	return b
}

func (f *fields) byte(what string) byte {
	if b := f.take(1, what); b != nil {
		return b[0]
	}
	return 0
}

// pathElement takes the name of a cluster or host, which are names of files.
func (f *fields) pathElement(what string) string {
	name := string(f.take(int(f.uvarint(1, maxName, what)), what))
	f.checkName(name, what)
	if name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
		f.fail("%s is no name of a file", what)
	}
	return name
}

// checkName refuses what the store takes for no name.
func (f *fields) checkName(name, what string) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		f.fail("%s is no name", what)
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
