package blockfile

import (
	"encoding/binary"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ringstore/ringstore/memstore/binfmt"
)

// maxName is the maximum length of a name in bytes. limits.name-bytes cannot be set higher.
const maxName = 1<<16 - 1

// readFileName reads the name of a cluster or host, which becomes part of a path.
func readFileName(r *binfmt.Reader, what string) string {
	name := r.String(1, maxName, what)
	checkName(r, name, what)
	if name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
		r.Fail("%s: expected a file name, got %.100q", what, name)
	}
	return name
}

// checkName reports damage if the store would refuse the name.
func checkName(r *binfmt.Reader, name, what string) {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		r.Fail("%s: expected UTF-8 without control characters, got %.100q", what, name)
	}
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
