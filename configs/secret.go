package configs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// maxSecretBytes is more than any token has.
const maxSecretBytes = 64 << 10

// secretSource splits "env:NAME" and "file:PATH", which name where a secret is.
func secretSource(source string) (kind, name string, ok bool) {
	kind, name, _ = strings.Cut(source, ":")
	return kind, name, (kind == "env" || kind == "file") && name != ""
}

// ReadSecret returns the secret that a value like auth.jobs.backend.token names: an environment variable, or what a file
// holds, without white space around it. No error shows what was read.
func ReadSecret(source string) (Secret, error) {
	kind, name, ok := secretSource(source)
	if !ok {
		return "", errors.New(`must be "env:NAME" or "file:PATH"`)
	}
	var text string
	if kind == "env" {
		text, ok = os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %s is not set", quote(name))
		}
	} else {
		data, err := readSecretFile(name)
		if err != nil {
			return "", fmt.Errorf("%s: %w", quote(name), err)
		}
		text = string(data)
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", fmt.Errorf("%s is empty", quote(name))
	case strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }):
		return "", fmt.Errorf("%s holds more than one word", quote(name))
	}
	return Secret(text), nil
}

func readSecretFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSecretBytes+1))
	switch {
	case err != nil:
		return nil, withoutPath(err)
	case len(data) > maxSecretBytes:
		return nil, fmt.Errorf("larger than %d bytes", maxSecretBytes)
	}
	return data, nil
}
