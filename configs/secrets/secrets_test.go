package secrets_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringstore/ringstore/configs"
	"github.com/ringstore/ringstore/configs/secrets"
)

// vault maps vault/name/version to a secret.
type vault map[string]string

func (v vault) Secret(_ context.Context, host, name, version string) (string, error) {
	value, found := v[host+"/"+name+"/"+version]
	if !found {
		return "", errors.New("status 404")
	}
	return value, nil
}

// writeFile returns a reference to a new file.
func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

var reader = secrets.Reader{AzureKV: vault{
	"v/key/": "hunter2", "v.example.org/key/7": "hunter2\n", "v/empty/": "", "v/long/": strings.Repeat("hunter2", 10_000),
}}

// No error shows the value, nor a text that is not a reference and so may be the value.
func TestReadFails(t *testing.T) {
	t.Setenv("RS_EMPTY", "")
	f := func(reference, want string) {
		t.Helper()
		data, err := reader.Read(t.Context(), reference)
		if err == nil || data != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, %v", reference, data, err)
		}
	}
	f("", `expected "env:NAME"`)
	f("hunter2", `expected "env:NAME"`)
	f("env:", "expected a name after")
	f("azure-kv://v", `expected "azure-kv://VAULT/NAME"`)
	f("env:RS_NOT_SET", "env:RS_NOT_SET: the environment variable is not set")
	f("env:RS_EMPTY", "env:RS_EMPTY: is empty")
	f("file:"+t.TempDir(), "not a regular file")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f("file:"+pipe, "not a regular file")
	f("file:no/such", "file:no/such: no such file or directory")
	f("file:a\nb", `file:"a\nb": no such file`)
	f(writeFile(t, ""), "is empty")
	f(writeFile(t, "\r\n"), "is empty")
	f(writeFile(t, strings.Repeat("x", secrets.MaxBytes+1)), "larger than 65536 bytes")
	f(writeFile(t, strings.Repeat("hunter2", 100_000)), "larger than 65536 bytes")
	f("azure-kv://v/none", "azure-kv://v/none: status 404")
	f("azure-kv://v/empty", "azure-kv://v/empty: is empty")
	f("azure-kv://v/long", "azure-kv://v/long: larger than")
	f("azure-kv://v/key/9", "azure-kv://v/key/9: status 404")

	_, err := secrets.Reader{}.Read(t.Context(), "azure-kv://v/key")
	if typed, ok := errors.AsType[*secrets.Error](err); !ok || typed.Reference.Name != "key" {
		t.Errorf("without a vault: %v", err)
	}
}

// Exactly one line end is removed from text. Binary data does not change.
func TestRead(t *testing.T) {
	f := func(reference, want string) {
		t.Helper()
		if data, err := reader.Read(t.Context(), reference); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v, want %q", reference, data, err, want)
		}
	}
	t.Setenv("RS_SECRET", " hunter2 ")
	f("env:RS_SECRET", " hunter2 ")
	f("azure-kv://v/key", "hunter2")
	f("azure-kv://v.example.org/key/7", "hunter2")
	f(writeFile(t, "hunter2"), "hunter2")
	f(writeFile(t, "hunter2\n"), "hunter2")
	f(writeFile(t, "hunter2\r\n"), "hunter2")
	f(writeFile(t, "\nhunter2 \n\n"), "\nhunter2 \n")
	f(writeFile(t, "0\x00\n"), "0\x00\n")
	f(writeFile(t, "\xff\xfe\r\n"), "\xff\xfe\r\n")
	long := strings.Repeat("x", secrets.MaxBytes)
	f(writeFile(t, long+"\r\n"), long)
}

func TestWord(t *testing.T) {
	bad := func(reference, want string) {
		t.Helper()
		word, err := reader.Word(t.Context(), reference)
		if err == nil || word != "" || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", reference, err)
		}
	}
	good := func(reference string) {
		t.Helper()
		if word, err := reader.Word(t.Context(), reference); err != nil || string(word) != "hunter2" {
			t.Errorf("%s: %q, %v", reference, string(word), err)
		}
	}
	t.Setenv("RS_BLANK", " ")
	t.Setenv("RS_SECRET", "hunter2")
	bad("hunter2", `expected "env:NAME"`)
	bad("env:RS_BLANK", "env:RS_BLANK: is empty")
	bad(writeFile(t, "hunter2\nhunter2\n"), "expected one word")
	bad(writeFile(t, "hunter2\x00"), "expected one word")
	bad(writeFile(t, "hunter2\xff"), "expected one word")
	good("env:RS_SECRET")
	good("azure-kv://v/key")
	good(writeFile(t, " hunter2 \r\n\n"))
}

func TestKey(t *testing.T) {
	bad := func(value, want string) {
		t.Helper()
		key, err := reader.Key(t.Context(), configs.Secret(value))
		if err == nil || key != nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %q, %v", value, key, err)
		}
	}
	good := func(value, want string) {
		t.Helper()
		if key, err := reader.Key(t.Context(), configs.Secret(value)); err != nil || string(key) != want {
			t.Errorf("%s: %q, %v, want %q", value, key, err, want)
		}
	}
	t.Setenv("RS_SECRET", "hunter2!")
	t.Setenv("RS_BASE64", "aHVudGVyMg==")
	bad("env:RS_NOT_SET", "env:RS_NOT_SET: the environment variable is not set")
	bad("base64:env:RS_NOT_SET", "env:RS_NOT_SET: the environment variable is not set")
	bad("env:", "expected a name after")
	bad("base64:hunter2!", "expected standard base64")
	bad("base64:env:RS_SECRET", "env:RS_SECRET: expected standard base64")
	good("env:RS_SECRET", "hunter2!")
	good("env:RS_BASE64", "aHVudGVyMg==")
	good("base64:env:RS_BASE64", "hunter2")
	good("base64:"+writeFile(t, "aHVudGVyMg==\n"), "hunter2")
	good("base64:aHVudGVyMg==", "hunter2")
	good(" hunter2\n", " hunter2\n")
	good("azure-kv://v/key", "hunter2")
}
