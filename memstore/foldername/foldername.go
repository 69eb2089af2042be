// Package foldername turns the name of a cluster into that of its folder in an archive. The archive
// uses it, and the store, which accepts no new cluster whose name no folder can have.
package foldername

import (
	"fmt"
	"strings"
)

// Max is the maximum length of a folder's name in bytes; file systems allow 255.
const Max = 240

// Of returns the name of a cluster's folder, and whether it fits into Max bytes. It is the cluster's
// name if that has only ASCII letters, digits, "-", "_" and ".", and does not begin with a ".". Any
// other byte becomes "%" and two hexadecimal digits, so that no two clusters share a folder, no
// folder is outside the archive, and none contains a glob pattern.
func Of(cluster string) (name string, fits bool) {
	var b strings.Builder
	for i := range len(cluster) {
		c := cluster[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String(), b.Len() > 0 && b.Len() <= Max
}
