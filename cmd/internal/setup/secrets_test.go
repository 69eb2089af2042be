package setup

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

// TestResolve: a reference that cannot be resolved is a configuration error with the path and the
// reference.
func TestResolve(t *testing.T) {
	t.Setenv("RS_SECRET", "hunter2")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := func(cfg configs.Config, value, want string) {
		t.Helper()
		got, err := resolve(t.Context(), &cfg, "nats.password", configs.Secret(value))
		if usage, ok := errors.AsType[ConfigError](err); !ok || got != "" || !strings.Contains(usage.Error(), want) {
			t.Errorf("%s: %v", value, err)
		}
	}
	good := func(value, want string) {
		t.Helper()
		if got, err := resolve(t.Context(), new(configs.Config), "nats.password", configs.Secret(value)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", value, string(got), err)
		}
	}
	bad(configs.Config{}, "env:RS_NOT_SET", "nats.password: env:RS_NOT_SET: the environment variable is not set")
	bad(configs.Config{}, "file:/none/such", "nats.password: file:/none/such: no such file")
	bad(configs.Config{}, "azure-kv://127.0.0.1:1/key", "nats.password: azure-kv://127.0.0.1:1/key: ")
	bad(configs.Config{Auth: configs.Auth{AzureKV: configs.AzureKV{ClientSecret: "env:RS_NOT_SET"}}}, "azure-kv://v/key",
		"auth.azure-kv.client-secret: env:RS_NOT_SET: the environment variable is not set")
	good("", "")
	good("two words", "two words")
	good("env:RS_SECRET", "hunter2")
	good("file:"+file, "hunter2")
}
