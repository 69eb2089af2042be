// Package object reads JSON that nobody has vouched for yet: exactly one object, within bounds, in which no member
// name occurs twice. It knows nothing of what the members mean.
package object

import (
	"errors"
	"unicode/utf8"
)

// MaxDepth is how deep objects and arrays may be nested, the outermost included; Keycloak's claims go to 4.
const MaxDepth = 16

// What is wrong with JSON. The texts are fixed: none quotes the input.
var (
	errUTF8      = errors.New("not UTF-8")
	errDepth     = errors.New("nested too deep")
	errValues    = errors.New("too many values")
	errNotObject = errors.New("not a JSON object")
	errDuplicate = errors.New("a member name occurs twice")
)

// Read reads exactly one JSON object (RFC 8259) of at most maxValues values, and makes of it what encoding/json would
// with UseNumber: a number is a json.Number, and what it comes to nobody has looked at. All values count, nested ones
// too, and objects and arrays for two. Member names are unique at every depth (RFC 7519 section 4 lets a reader refuse
// duplicates), and exact: "Roles" is not "roles". Reading ends at what is out of bounds, and no error quotes the input.
// The result shares no memory with data.
//
// encoding/json takes three times as long (BenchmarkRead) and does not tell of names that occur twice, and whoever sends
// tokens decides how often that is paid.
func Read(data []byte, maxValues int) (map[string]any, error) {
	if !utf8.Valid(data) { // encoding/json mends it
		return nil, errUTF8
	}
	r := reader{data: data, values: maxValues}
	if r.next() != '{' {
		return nil, errNotObject
	}
	value, err := r.value(MaxDepth)
	if err != nil {
		return nil, err
	}
	if r.next() != 0 || r.at < len(data) {
		return nil, errNotObject
	}
	return value.(map[string]any), nil
}
