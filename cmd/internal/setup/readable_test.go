package setup

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/configs"
)

// TestReadableSecrets: of each secret in a file that others can read there is one warning, and none
// of those that only a group can read, of public keys, and of missing files.
func TestReadableSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	names := []string{"https", "creds", "nkey", "password", "tls", "account", "xkey", "shared", "client", "token"}
	var cfg configs.Config
	cfg.Main.HTTPSKeyFile, cfg.NATS.CredsFilePath, cfg.NATS.NkeySeedFile = "https", "creds", "nkey"
	cfg.NATS.Password = "file:password"
	cfg.NATS.Embedded = &configs.EmbeddedNATS{TLSKeyFile: "tls"}
	cfg.NATS.AuthCallout = &configs.AuthCallout{AccountSeed: "file:account", XKeySeed: "file:xkey"}
	cfg.Auth.Issuers = []configs.Issuer{{SharedSecret: "base64:file:shared", PublicKeyFile: "public"}, {SharedSecret: "env:X"}}
	cfg.Auth.AzureKV.ClientSecret, cfg.Auth.Jobs.Backend.Token = "file:client", "file:token"
	warnings := func() (n int, text string) {
		var log strings.Builder
		WarnOfReadable(&cfg, slog.New(slog.NewTextHandler(&log, nil)))
		return strings.Count(log.String(), "\n"), log.String()
	}
	if n, text := warnings(); n != 0 {
		t.Errorf("missing files: %s", text)
	}
	for mode, want := range map[os.FileMode]int{0o600: 0, 0o640: 0, 0o644: len(names), 0o604: len(names)} {
		for _, name := range append(names, "public") {
			write(t, name, "x")
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		n, text := warnings()
		if n != want || strings.Contains(text, "public") {
			t.Errorf("%o: %d warnings, want %d:\n%s", mode, n, want, text)
		}
		for _, name := range names {
			if want > 0 && !strings.Contains(text, fmt.Sprintf("file=%s\n", name)) {
				t.Errorf("no warning of %s", name)
			}
		}
	}
}
