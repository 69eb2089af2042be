package logging

import (
	"bytes"
	"encoding/base64"
	"io"
	"regexp"
	"unicode"
)

// Redacted returns a writer for log lines that replaces whatever looks like a JSON Web Token by
// [token], also a truncated one. It sees each line as it is written, so no field, message or error
// escapes it, whatever a client used as a name. Every Write must be one or more whole lines.
func Redacted(w io.Writer) io.Writer { return redactor{w} }

type redactor struct{ io.Writer }

func (r redactor) Write(lines []byte) (int, error) {
	if _, err := r.Writer.Write(redact(lines)); err != nil {
		return 0, err
	}
	return len(lines), nil
}

// dotted matches base64url followed by a dot, which may be percent-encoded, also twice, and more of
// both.
var dotted = regexp.MustCompile(`[\w-]{8,}(?:(?:\.|%(?:25)*2[eE])[\w-]*)+`)

// redact never changes what escaping has added: the characters of a token need none, neither in text
// nor in JSON.
func redact(lines []byte) []byte {
	return dotted.ReplaceAllFunc(lines, func(match []byte) []byte {
		end := bytes.IndexAny(match, ".%")
		if at := objectAt(match[:end]); at >= 0 {
			return append(bytes.Clone(match[:at]), "[token]"...)
		}
		return match
	})
}

func isNotASCII(r rune) bool { return r > unicode.MaxASCII || !unicode.IsPrint(r) }

// objectAt returns where base64url of a JSON object with members begins in text, -1 if it does
// nowhere.
func objectAt(text []byte) int {
	for at := range text {
		// Two dozen characters are enough: no issuer begins a header with more white space.
		part := text[at:min(len(text), at+32)]
		var decoded [24]byte
		n, err := base64.RawURLEncoding.Decode(decoded[:], part[:len(part)/4*4])
		if err != nil || n == 0 {
			continue
		}
		head := bytes.TrimLeft(decoded[:n], " \t\r\n")
		if inner, ok := bytes.CutPrefix(head, []byte("{")); ok {
			// The name of a member follows, of which the first letters are ASCII.
			name, ok := bytes.CutPrefix(bytes.TrimLeft(inner, " \t\r\n"), []byte(`"`))
			if ok && !bytes.ContainsFunc(name[:min(len(name), 2)], isNotASCII) {
				return at
			}
		}
	}
	return -1
}
