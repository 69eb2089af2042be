package setup

import (
	"log/slog"
	"os"
	"strings"

	"github.com/ringstore/ringstore/configs"
)

// WarnOfReadable warns of files with secrets that every user of the machine can read.
func WarnOfReadable(cfg *configs.Config, log *slog.Logger) {
	for _, s := range secretFiles(cfg) {
		const others = 0o004
		info, err := os.Stat(s.file) // whether it can be read at all is checked elsewhere
		if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&others != 0 {
			log.Warn("every user of this machine can read a secret: chmod o-r", "key", s.key, "file", s.file)
		}
	}
}

// secretFile is a file with a secret, and the key of the configuration that names it.
type secretFile struct{ key, file string }

// secretFiles returns the files that the configuration names for its secrets.
func secretFiles(cfg *configs.Config) (files []secretFile) {
	add := func(key, file string) {
		if file != "" {
			files = append(files, secretFile{key, file})
		}
	}
	refer := func(key string, value configs.Secret) {
		text, _ := strings.CutPrefix(string(value), "base64:")
		if ref, ok, err := configs.ParseReference(text); ok && err == nil && ref.Store == configs.StoreFile {
			add(key, ref.Name)
		}
	}
	add("main.https-key-file", cfg.Main.HTTPSKeyFile)
	add("nats.creds-file-path", cfg.NATS.CredsFilePath)
	add("nats.nkey-seed-file", cfg.NATS.NkeySeedFile)
	refer("nats.password", cfg.NATS.Password)
	if e := cfg.NATS.Embedded; e != nil {
		add("nats.embedded.tls-key-file", e.TLSKeyFile)
	}
	if c := cfg.NATS.AuthCallout; c != nil {
		refer("nats.auth-callout.account-seed", c.AccountSeed)
		refer("nats.auth-callout.xkey-seed", c.XKeySeed)
	}
	for _, i := range cfg.Auth.Issuers {
		refer("auth.issuers[].shared-secret", i.SharedSecret)
	}
	refer("auth.azure-kv.client-secret", configs.Secret(cfg.Auth.AzureKV.ClientSecret))
	refer("auth.jobs.backend.token", configs.Secret(cfg.Auth.Jobs.Backend.Token))
	return files
}
