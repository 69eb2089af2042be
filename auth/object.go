package auth

import (
	"encoding/json"
	"errors"
	"unicode/utf8"
)

const (
	// maxDepth is how deep objects and arrays may be nested, the outermost included; Keycloak's claims go to 4.
	maxDepth = 16
	// maxValues bounds what decoding costs before anybody has vouched for the input: not much more than a signature.
	maxValues = 1024
)

// What is wrong with JSON. The texts are fixed: none quotes the input.
var (
	errUTF8      = errors.New("not UTF-8")
	errDepth     = errors.New("nested too deep")
	errValues    = errors.New("too many values")
	errNotObject = errors.New("not a JSON object")
	errDuplicate = errors.New("a member name occurs twice")
)

// readObject reads exactly one JSON object. Member names are unique at every depth (RFC 7519 section 4 lets a reader
// refuse duplicates), and exact: "Roles" is not "roles".
func readObject(data []byte) (map[string]any, error) {
	if !utf8.Valid(data) { // the decoder would mend it
		return nil, errUTF8
	}
	members, err := survey(data)
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
func survey(data []byte) (members int, err error) {
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
			if depth++; depth > maxDepth {
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
