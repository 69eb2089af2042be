package configs

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Setenv("RS_NAME", `hun"t,er2`)
	t.Setenv("RS_EMPTY", "")
	t.Setenv("RS_NESTED", "${RS_NAME}$${")
	t.Setenv("RS_BINARY", "\xff")
	t.Setenv("RS_LONG", strings.Repeat("x", 100<<10))
	const form = `expected "${NAME}" or "${NAME:-default}"`
	bad := func(text, want string) {
		t.Helper()
		if got, err := expand(text); err == nil || got != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hun") {
			t.Errorf("%.100q: %q, %v", text, got, err)
		}
	}
	good := func(text, want string) {
		t.Helper()
		if got, err := expand(text); err != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	bad("${RS_UNSET}", `the environment variable "RS_UNSET" is not set, and no default is given`)
	bad("${RS_NAME}${RS_UNSET}", "RS_UNSET")
	bad("${RS_NAME", `"${" without "}"`)
	bad("${", `"${" without "}"`)
	bad("${}", form)
	bad("${:-x}", form)
	bad("${1A}", form)
	bad("${RS NAME}", form)
	bad("${RS_NAME-x}", form)
	bad("${RS_NAME:x}", form)
	bad("${RS_UNSET:-${RS_NAME}}", form)
	bad("${RS_BINARY}", `the environment variable "RS_BINARY" is not UTF-8`)
	bad(strings.Repeat("${RS_LONG}", 11), "longer than 1048576 bytes")

	good("", "")
	good("$RS_NAME {RS_NAME} $ $$ $}", "$RS_NAME {RS_NAME} $ $$ $}")
	good("${RS_NAME}", `hun"t,er2`)
	good("<${RS_NAME}|${RS_NAME}>", `<hun"t,er2|hun"t,er2>`)
	good("${RS_EMPTY}", "")
	good("${RS_EMPTY:-d}", "d")
	good("${RS_UNSET:-}", "")
	good("${RS_UNSET:-a:-b $c}", "a:-b $c")
	good("${RS_NAME:-d}", `hun"t,er2`)
	good("$${RS_NAME}", "${RS_NAME}")
	good("$$${RS_NAME}", "$${RS_NAME}")
	good("${RS_NESTED}", "${RS_NAME}$${")
	good("$${a}${RS_UNSET:-b}$${", "${a}b${")
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"", "$${", "${A:-b}c", "${", "${}", "$$${A}", "${A:-${B}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := expand(text)
		switch {
		case err != nil && (got != "" || strings.ContainsAny(err.Error(), "\n\x00")):
			t.Errorf("%q: %q, %q", text, got, err)
		case err == nil && !strings.Contains(text, "${") && got != text:
			t.Errorf("%q became %q", text, got)
		}
	})
}
