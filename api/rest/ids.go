package rest

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// maxIDs bounds the different ids of a list. No host has that many devices.
const maxIDs = 1 << 16

// idList is a list of ids in a request. Each id is kept once, because a list of one id a million
// times takes a few kilobytes of gzip.
type idList struct {
	names []string
	order []uint32 // indices of names; nil if no id repeats
}

// len returns the length of the list.
func (l *idList) len() int {
	if l.order != nil {
		return len(l.order)
	}
	return len(l.names)
}

// at returns a list of one element.
func (l *idList) at(i int) []string {
	if l.order != nil {
		i = int(l.order[i])
	}
	return l.names[i : i+1]
}

// UnmarshalJSON implements [json.Unmarshaler]. text is valid JSON.
func (l *idList) UnmarshalJSON(text []byte) error {
	*l = idList{}
	seen := make(map[string]uint32)
	rest, ok := bytes.CutPrefix(text, []byte("["))
	if !ok {
		return l.unmarshalUnusual(text)
	}
	for {
		i := bytes.IndexAny(rest, `"]`)
		if i < 0 || len(bytes.Trim(rest[:i], ", \t\r\n")) > 0 {
			return l.unmarshalUnusual(text)
		}
		if rest[i] == ']' {
			return nil
		}
		end := i + 1 + bytes.IndexByte(rest[i+1:], '"')
		id := rest[i+1 : end]
		if bytes.IndexByte(id, '\\') >= 0 || !utf8.Valid(id) {
			return l.unmarshalUnusual(text)
		}
		rest = rest[end+1:]
		if err := l.add(id, seen); err != nil {
			return err
		}
	}
}

// unmarshalUnusual reads lists with escapes or other elements than strings, most of which are
// errors.
func (l *idList) unmarshalUnusual(text []byte) error {
	*l = idList{}
	var all []string
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	seen := make(map[string]uint32)
	for _, id := range all {
		if err := l.add([]byte(id), seen); err != nil {
			return err
		}
	}
	return nil
}

func (l *idList) add(id []byte, seen map[string]uint32) error {
	n, repeats := seen[string(id)]
	if !repeats {
		if n = uint32(len(l.names)); n == maxIDs {
			return badRequest("more than %d different ids in a list", maxIDs)
		}
		l.names = append(l.names, string(id))
		seen[l.names[n]] = n
	}
	if repeats && l.order == nil {
		for i := range l.names {
			l.order = append(l.order, uint32(i))
		}
	}
	if l.order != nil {
		l.order = append(l.order, n)
	}
	return nil
}
