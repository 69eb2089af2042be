// Package object reads JSON that nobody has vouched for yet: exactly one object, within bounds, in which no member
// name occurs twice. It knows nothing of what the members mean.
package object

import (
	"encoding/json"
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

// Read reads exactly one JSON object of at most maxValues values, as encoding/json decodes into any. Member names are
// unique at every depth (RFC 7519 section 4 lets a reader refuse duplicates), and exact: "Roles" is not "roles". What
// is out of bounds is refused before it is decoded. No error quotes the input.
func Read(data []byte, maxValues int) (map[string]any, error) {
	if !utf8.Valid(data) { // the decoder would mend it
		return nil, errUTF8
	}
	members, err := survey(data, maxValues)
	if err != nil {
		return nil, err
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		return nil, errNotObject
	}
	if countMembers(object) != members { // of two with one name, the decoder keeps the last
		return nil, errDuplicate
	}
	return object, nil
}

// survey counts the members of all objects in data: in valid JSON, each colon outside a string belongs to one.
// It refuses what would be dear to decode.
func survey(data []byte, maxValues int) (members int, err error) {
	depth, values, inString := 0, 1, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == ':':
			members++
		case c == ',':
			values++
		case c == '{', c == '[':
			values++
			if depth++; depth > MaxDepth {
				return 0, errDepth
			}
		case c == '}', c == ']':
			depth--
		}
	}
	if values > maxValues {
		return 0, errValues
	}
	return members, nil
}

func countMembers(value any) int {
	n := 0
	switch value := value.(type) {
	case map[string]any:
		n = len(value)
		for _, v := range value {
			n += countMembers(v)
		}
	case []any:
		for _, v := range value {
			n += countMembers(v)
		}
	}
	return n
}
