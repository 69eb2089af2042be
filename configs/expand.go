package configs

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"
)

// maxExpandedBytes is the maximum size of a string of the file after its variables were replaced.
const maxExpandedBytes = maxFileBytes

// expand replaces ${NAME} in a string of the file by the environment variable NAME, and
// ${NAME:-default} by the default if the variable is not set or empty, as a shell does. $${ is a
// literal ${. The value of a variable is not expanded again. The text is a decoded JSON string, so
// that a value cannot end the string. Errors name the variable and show no value.
//
// os.Expand and the libraries a8m/envsubst, drone/envsubst and compose-go differ: they also replace
// $NAME, which may be part of a password, accept operators that we do not promise, or replace an
// unset variable by an empty string.
func expand(text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "${")
		if !found {
			out.WriteString(text)
			return out.String(), nil
		}
		if literal, escaped := strings.CutSuffix(before, "$"); escaped {
			out.WriteString(literal + "${")
			text = rest
			continue
		}
		inside, after, closed := strings.Cut(rest, "}")
		if !closed {
			return "", errors.New(`"${" without "}"; for a literal "${", write "$${"`)
		}
		value, err := valueOf(inside)
		if err != nil {
			return "", err
		}
		if out.Len()+len(before)+len(value) > maxExpandedBytes {
			return "", fmt.Errorf("longer than %d bytes after expanding its variables", maxExpandedBytes)
		}
		out.WriteString(before + value)
		text = after
	}
}

// valueOf returns the value of NAME or NAME:-default.
func valueOf(inside string) (string, error) {
	name, fallback, hasFallback := strings.Cut(inside, ":-")
	if !variableName(name) || strings.Contains(fallback, "${") {
		return "", errors.New(`expected "${NAME}" or "${NAME:-default}" with a name of letters, digits and "_"; ` +
			`for a literal "${", write "$${"`)
	}
	value, set := os.LookupEnv(name)
	switch {
	case hasFallback && value == "":
		return fallback, nil
	case !set:
		return "", fmt.Errorf("the environment variable %s is not set, and no default is given", quote(name))
	case !utf8.ValidString(value):
		return "", fmt.Errorf("the environment variable %s is not UTF-8", quote(name))
	}
	return value, nil
}

// variableName reports whether name is a name by POSIX: letters, digits and "_", not starting with
// a digit.
func variableName(name string) bool {
	return name != "" && (name[0] < '0' || name[0] > '9') &&
		!strings.ContainsFunc(name, func(r rune) bool { return r != '_' && !isWord(r) })
}
