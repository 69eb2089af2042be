package object

import (
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// text reads a string.
func (r *reader) text() (string, error) {
	start := r.at + 1
	for i := start; i < len(r.data); i++ {
		switch c := r.data[i]; {
		case c == '"':
			r.at = i + 1
			return string(r.data[start:i]), nil
		case c == '\\':
			r.at = i
			return r.escaped(r.data[start:i:i])
		case c < ' ':
			return "", errNotObject
		}
	}
	return "", errNotObject
}

// escaped reads the rest of a string, from the first escape on (RFC 8259 section 7).
func (r *reader) escaped(text []byte) (string, error) {
	for r.at < len(r.data) {
		c := r.data[r.at]
		r.at++
		switch {
		case c == '"':
			return string(text), nil
		case c < ' ':
			return "", errNotObject
		case c != '\\':
			text = append(text, c)
		default:
			char, ok := r.escape()
			if !ok {
				return "", errNotObject
			}
			text = utf8.AppendRune(text, char)
		}
	}
	return "", errNotObject
}

// escape reads what follows a backslash.
func (r *reader) escape() (rune, bool) {
	if r.at == len(r.data) {
		return 0, false
	}
	c := r.data[r.at]
	r.at++
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		return r.unicode()
	}
	return 0, false
}

// unicode reads the digits behind \u, and a second such escape if both are one character. A half without the other is
// U+FFFD, as encoding/json has it.
func (r *reader) unicode() (rune, bool) {
	char, ok := r.hex(r.at)
	if !ok {
		return 0, false
	}
	r.at += 4
	if !utf16.IsSurrogate(char) {
		return char, true
	}
	if r.at+1 < len(r.data) && r.data[r.at] == '\\' && r.data[r.at+1] == 'u' {
		if second, ok := r.hex(r.at + 2); ok {
			if both := utf16.DecodeRune(char, second); both != unicode.ReplacementChar {
				r.at += 6
				return both, true
			}
		}
	}
	return unicode.ReplacementChar, true
}

// hex reads the four digits at a place.
func (r *reader) hex(at int) (char rune, ok bool) {
	if len(r.data)-at < 4 {
		return 0, false
	}
	for _, c := range r.data[at : at+4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		char = char<<4 | rune(c)
	}
	return char, true
}
