package configs

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// decoder decodes a tree into a Config and reports all values that do not fit, by their paths.
//
// No library does this with less code: the decoders of encoding/json and of go-json-experiment stop
// at the first wrong value or unknown key, and know nothing of a similar key, of a section's own
// file and of variables in keys. As with encoding/json, null keeps the default, and letter case in
// keys does not matter.
type decoder struct {
	found *findings
}

// config decodes the top level. An unknown section is not an error.
func (d decoder) config(root node, c *Config) {
	fields := fieldsOf(reflect.ValueOf(c).Elem())
	for _, m := range root.members {
		if field, known := fields[m.key]; known {
			d.child(m.key, root, m.value, field)
			continue
		}
		message := "unknown section, ignored"
		if !d.found.warnings.full() {
			message += didYouMean(m.key, slices.Sorted(maps.Keys(fields)))
		}
		d.warn(joinKey("", m.key), m.value, message)
		d.found.unknownSections = append(d.found.unknownSections, Problem{File: m.value.file, Key: joinKey("", m.key), Message: "warning: " + message})
	}
}

// child decodes a member of an object. The member may come from a section's own file.
func (d decoder) child(path string, parent, n node, v reflect.Value) {
	if n.file != parent.file {
		d.found.files[path] = n.file
	}
	d.value(path, n, v)
}

func (d decoder) value(path string, n node, v reflect.Value) {
	n, ok := d.expanded(path, n)
	switch {
	case !ok, n.kind == jsontext.KindNull:
	case v.Type() == reflect.TypeFor[time.Duration]():
		d.duration(path, n, v, 1)
	case v.Type() == reflect.TypeFor[*time.Duration]():
		d.optionalDuration(path, n, v)
	case v.Type() == reflect.TypeFor[Values]() && n.kind == jsontext.KindString:
		v.Set(reflect.ValueOf(Values{n.text}))
	case v.Type() == reflect.TypeFor[Grant]() && n.kind == jsontext.KindString:
		v.Set(reflect.ValueOf(Grant{Role: n.text}))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, n, v.Elem())
	case v.Kind() == reflect.Struct && d.is(jsontext.KindBeginObject, path, n, "an object"):
		d.object(path, n, v)
	case v.Kind() == reflect.Map && d.is(jsontext.KindBeginObject, path, n, "an object"):
		d.table(path, n, v)
	case v.Kind() == reflect.Slice && d.is(jsontext.KindBeginArray, path, n, "an array"):
		v.Set(reflect.MakeSlice(v.Type(), len(n.items), len(n.items)))
		for i, item := range n.items {
			d.value(joinIndex(path, i), item, v.Index(i))
		}
	case v.Kind() == reflect.String && d.is(jsontext.KindString, path, n, "a string"):
		v.SetString(n.text)
	case v.Kind() == reflect.Bool && n.kind == jsontext.KindTrue:
		v.SetBool(true)
	case v.Kind() == reflect.Bool && d.is(jsontext.KindFalse, path, n, "true or false"):
		v.SetBool(false)
	case v.CanInt() && d.is(jsontext.KindNumber, path, n, "a whole number"):
		d.integer(path, n, v)
	}
}

// expanded returns n with its variables replaced, if it is a string.
func (d decoder) expanded(path string, n node) (_ node, ok bool) {
	if n.kind != jsontext.KindString {
		return n, true
	}
	text, err := expand(n.text)
	if err != nil {
		d.found.unusable[path] = true
		d.fail(path, n, err.Error())
		return n, false
	}
	if text == "" && n.text != "" {
		d.found.emptied[path] = true
	}
	n.text = text
	return n, true
}

func (d decoder) is(want jsontext.Kind, path string, n node, name string) bool {
	if n.kind != want {
		d.found.wrongType(path, n, name)
	}
	return n.kind == want
}

func (d decoder) object(path string, n node, v reflect.Value) {
	fields := fieldsOf(v)
	given := map[string]bool{}
	for _, m := range n.members {
		at := joinKey(path, m.key)
		key, known := knownKey(m.key, fields)
		note, accepted := withoutEffect[at]
		switch {
		case known && given[key]:
			d.fail(at, m.value, fmt.Sprintf("duplicate key, also written as %s", quote(key)))
		case known:
			given[key] = true
			if key != m.key {
				d.warn(at, m.value, fmt.Sprintf("read as %s", quote(key)))
			}
			d.child(joinKey(path, key), n, m.value, fields[key])
		case accepted:
			if note != "" && !m.value.isZero() {
				d.warn(at, m.value, note)
			}
		case v.Type() == reflect.TypeFor[Debug]():
			d.warn(at, m.value, "unknown key, ignored")
		default:
			message := "unknown key"
			if !d.found.problems.full() {
				message += suggestion(at, m.key, slices.Sorted(maps.Keys(fields)))
			}
			d.fail(at, m.value, message)
		}
	}
}

// table decodes an object with free keys, in which variables are replaced.
func (d decoder) table(path string, n node, v reflect.Value) {
	v.Set(reflect.MakeMapWithSize(v.Type(), len(n.members)))
	for _, m := range n.members {
		at := joinKey(path, m.key)
		name, err := expand(m.key)
		if err != nil {
			d.fail(at, m.value, "the key: "+err.Error())
			continue
		}
		key := reflect.ValueOf(name)
		if v.MapIndex(key).IsValid() {
			d.fail(at, m.value, "duplicate key after expanding its variables")
			continue
		}
		element := reflect.New(v.Type().Elem()).Elem()
		d.child(joinKey(path, name), n, m.value, element)
		v.SetMapIndex(key, element)
	}
}

func (d decoder) integer(path string, n node, v reflect.Value) {
	i, err := strconv.ParseInt(n.text, 10, v.Type().Bits())
	if err != nil {
		d.fail(path, n, "expected a whole number of at most 19 digits; got "+quote(n.text))
		return
	}
	v.SetInt(i)
}

// optionalDuration leaves v nil for an empty string. Unlike other durations it may be 0.
func (d decoder) optionalDuration(path string, n node, v reflect.Value) {
	if n.kind == jsontext.KindString && n.text == "" {
		return
	}
	v.Set(reflect.New(v.Type().Elem()))
	d.duration(path, n, v.Elem(), 0)
}

// duration keeps the default for an empty string, as if the key were missing.
func (d decoder) duration(path string, n node, v reflect.Value, minimum time.Duration) {
	if !d.is(jsontext.KindString, path, n, `a duration in quotes, such as "48h" or "10m"`) || n.text == "" {
		return
	}
	t, err := time.ParseDuration(n.text)
	switch {
	case err != nil:
		d.fail(path, n, `expected a duration in hours, minutes and seconds, such as "48h", "10m" or "1h30m"; got `+quote(n.text))
	case t < minimum && minimum > 0:
		d.fail(path, n, "expected a duration longer than 0; got "+quote(n.text))
	case t < minimum:
		d.fail(path, n, "expected a duration of at least 0; got "+quote(n.text))
	default:
		v.SetInt(int64(t))
	}
}

func (d decoder) fail(path string, n node, message string) {
	d.found.problems.add(Problem{File: n.file, Key: path, Message: message})
}

func (d decoder) warn(path string, n node, message string) {
	d.found.warnings.add(Problem{File: n.file, Key: path, Message: message})
}

// fieldsOf returns the fields of a struct by key, those of embedded structs included.
func fieldsOf(v reflect.Value) map[string]reflect.Value {
	fields := map[string]reflect.Value{}
	for f, value := range v.Fields() {
		switch key := f.Tag.Get("json"); {
		case f.Anonymous:
			maps.Copy(fields, fieldsOf(value))
		case key != "-":
			fields[key] = value
		}
	}
	return fields
}

func isSection(key string) bool {
	_, known := fieldsOf(reflect.ValueOf(Config{}))[key]
	return known
}

// knownKey returns the key of fields that equals key, exactly or else without regard to letter
// case.
func knownKey(key string, fields map[string]reflect.Value) (string, bool) {
	if _, exact := fields[key]; exact {
		return key, true
	}
	for known := range fields {
		if strings.EqualFold(known, key) {
			return known, true
		}
	}
	return "", false
}
