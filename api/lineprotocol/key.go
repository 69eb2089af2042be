package lineprotocol

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxTags is the largest number of tags in a series key.
const MaxTags = 64

// nodeType is the `type` of samples that belong to the host itself.
const nodeType = "node"

var errKeyTooLong = fmt.Errorf("the metric and its tags are longer than %d bytes", MaxKey)

// Key is a parsed series key. Cluster and Host are empty if the line has no such tag; the caller
// decides whether that is an error.
type Key struct {
	Metric    string
	Cluster   string
	Host      string // tag "hostname", else "host"
	Type      string // empty at node scope, which "type=node" also means
	TypeID    string // tag "type-id"; empty at node scope, which ignores it
	Subtype   string // tag "stype"
	SubtypeID string // tag "stype-id"
	Extra     []Tag  // all other tags; the last is "host" if that differs from "hostname"
}

// Tag is a tag of a series key, unescaped.
type Tag struct{ Name, Value string }

// ParseKey parses a series key; its strings are copies. It rejects what the library rejects (a
// missing '=', an empty name or value, a control character, invalid UTF-8) and keys that do not
// identify one series: a tag that appears twice, "type-id" without "type", "stype-id" without
// "stype". The error's text is a reason as in [LineError].
func ParseKey(key []byte) (Key, error) {
	metric, tags, err := splitKey(key)
	if err != nil {
		return Key{}, err
	}
	k := Key{Metric: metric}
	for i, t := range tags {
		for _, earlier := range tags[:i] {
			if earlier.Name == t.Name {
				return Key{}, fmt.Errorf("tag %s appears twice", quote([]byte(t.Name)))
			}
		}
		k.set(t)
	}
	k.setHost(tags)
	return k.resolve()
}

func (k *Key) set(t Tag) {
	switch t.Name {
	case "cluster":
		k.Cluster = t.Value
	case "hostname":
		k.Host = t.Value
	case "host": // see setHost
	case "type":
		k.Type = t.Value
	case "type-id":
		k.TypeID = t.Value
	case "stype":
		k.Subtype = t.Value
	case "stype-id":
		k.SubtypeID = t.Value
	default:
		k.Extra = append(k.Extra, t)
	}
}

// setHost applies the tag "host". Beside "hostname" it names the machine of an agent that adds its
// own name to each line, as Telegraf does.
func (k *Key) setHost(tags []Tag) {
	i := slices.IndexFunc(tags, func(t Tag) bool { return t.Name == "host" })
	switch {
	case i < 0:
	case k.Host == "":
		k.Host = tags[i].Value
	case k.Host != tags[i].Value:
		k.Extra = append(k.Extra, tags[i])
	}
}

// resolve checks the tags that depend on each other, and clears those of node scope.
func (k Key) resolve() (Key, error) {
	switch {
	case k.Type == "" && k.TypeID != "":
		return Key{}, errors.New(`tag "type-id" without tag "type"`)
	case k.Subtype == "" && k.SubtypeID != "":
		return Key{}, errors.New(`tag "stype-id" without tag "stype"`)
	}
	if k.Type == nodeType {
		k.Type, k.TypeID = "", ""
	}
	return k, nil
}

// splitKey parses the grammar of a series key and checks its size, but gives tags no meaning.
func splitKey(key []byte) (metric string, tags []Tag, err error) {
	if err := checkBytes(key); err != nil {
		return "", nil, err
	}
	name, rest, more := cutUnescaped(key, ',')
	if len(name) == 0 {
		return "", nil, errors.New("no metric name")
	}
	metric = unescape(name, ", ")
	tags = make([]Tag, 0, min(bytes.Count(rest, []byte{','})+1, MaxTags))
	for more {
		if len(tags) == MaxTags {
			return "", nil, fmt.Errorf("more than %d tags", MaxTags)
		}
		var part []byte
		part, rest, more = cutUnescaped(rest, ',')
		tag, err := splitTag(part)
		if err != nil {
			return "", nil, err
		}
		tags = append(tags, tag)
	}
	return metric, tags, nil
}

func splitTag(part []byte) (Tag, error) {
	name, value, ok := cutUnescaped(part, '=')
	switch {
	case len(part) == 0:
		return Tag{}, errors.New("nothing after a comma where a tag is expected")
	case len(name) == 0:
		return Tag{}, fmt.Errorf("a tag without a name: %s", quote(part))
	case !ok:
		return Tag{}, fmt.Errorf("tag %s has no '='", quote(name))
	case len(value) == 0:
		return Tag{}, fmt.Errorf("tag %s has no value", quote(name))
	}
	if _, _, again := cutUnescaped(value, '='); again {
		return Tag{}, fmt.Errorf("tag %s has an unescaped '=' in its value", quote(name))
	}
	return Tag{Name: unescape(name, ",= "), Value: unescape(value, ",= ")}, nil
}

// checkBytes rejects a key that is too long or has bytes that no name may have.
func checkBytes(key []byte) error {
	if len(key) > MaxKey {
		return errKeyTooLong
	}
	for i, c := range key {
		switch {
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("control character %q at byte %d of the metric and its tags", c, i+1)
		case c == ' ' && (i == 0 || key[i-1] != '\\'):
			return fmt.Errorf("unescaped space at byte %d of the metric and its tags", i+1)
		}
	}
	if !utf8.Valid(key) {
		return errors.New("invalid UTF-8 in the metric or its tags")
	}
	return nil
}

// cutUnescaped slices b around the first sep without a backslash before it. A backslash does not
// escape another one, so only that byte counts.
func cutUnescaped(b []byte, sep byte) (before, after []byte, found bool) {
	for i, c := range b {
		if c == sep && (i == 0 || b[i-1] != '\\') {
			return b[:i], b[i+1:], true
		}
	}
	return b, nil, false
}

// unescape copies b without the backslashes that escape a byte of special. Any other backslash
// stays.
func unescape(b []byte, special string) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	plain := make([]byte, 0, len(b))
	for i, c := range b {
		if c == '\\' && i+1 < len(b) && strings.IndexByte(special, b[i+1]) >= 0 {
			continue
		}
		plain = append(plain, c)
	}
	return string(plain)
}
