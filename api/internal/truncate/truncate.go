// Package truncate bounds text from outside before it is logged or returned to a client.
package truncate

import "strings"

// Text returns s if it has at most limit bytes, else its beginning of at most limit bytes and "...".
// The cut does not split a character.
func Text(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
