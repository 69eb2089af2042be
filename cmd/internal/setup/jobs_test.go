package setup

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

// askingBackend returns a configuration with a cc-backend and its token.
func askingBackend(t *testing.T, url, token string) *configs.Config {
	t.Helper()
	cfg, err := configs.Parse("config.json", fmt.Appendf(nil, `{
		"main": {"addr": "127.0.0.1:0", "backend-url": %q},
		"auth": {"disabled": true, "jobs": {"backend": {"token": %q}}},
		"metrics": {"load": {"frequency": 60}},
		"metric-store": {"retention-in-memory": "48h", "checkpoints": {"directory": %q}}
	}`, url, token, filepath.Join(t.TempDir(), "checkpoints")))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestNoBackendIsAskedWithoutAToken(t *testing.T) {
	for _, cfg := range []*configs.Config{askingBackend(t, "http://localhost:1", ""), askingBackend(t, "", "env:RINGSTORE_NOT_SET")} {
		if n, err := Nodes(t.Context(), cfg, slog.New(slog.DiscardHandler)); n != nil || err != nil {
			t.Error(n, err)
		}
	}
}
