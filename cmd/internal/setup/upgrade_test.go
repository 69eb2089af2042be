package setup

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/configs"
)

// auth090 is a section "auth" that version 0.9.0 accepts, of a site with the issuers of its example.
const auth090 = `{
  "issuers": [
    { "name": "cc-backend", "public-key-file": "cc.pem", "job-user-claim": "sub", "projects-claims": ["projects"] },
    {
      "name": "hpc-sso", "issuer": "https://sso.example.org/realms/hpc", "public-key-file": "sso.pem", "audience": ["metric-store"],
      "principal-claims": ["preferred_username", "email", "sub"], "job-user-claim": "preferred_username",
      "roles-claims": ["realm_access.roles"],
      "role-map": { "hpc-admin": "admin", "student": "user", "service-account-ingest": { "role": "api", "clusters": ["fritz"] } }
    },
    {
      "name": "openmetadata", "issuer": "open-metadata.org", "public-key-file": "om.pem", "principal-claims": ["username"],
      "role-map": { "ingestion-bot": { "role": "api", "clusters": ["fritz"] } }, "require-expiry": false
    }
  ],
  "revocation-file": "revoked.json",
  "jobs": { "nats": { "subject": "jobs", "publishers": ["slurmctld", "hpc-sso:service-account-slurm"] } }
}`

// TestConfigurationOf090: each setting that no longer means what it did is refused with the text to
// write instead, all at once. With these texts in place the configuration is accepted, and what
// remains is warned of.
func TestConfigurationOf090(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, name := range []string{"cc.pem", "sso.pem", "om.pem"} {
		write(t, name, authtest.NewIssuer(name).PublicKeyBase64())
	}
	write(t, "revoked.json", `{"subjects": [{"issuer": "hpc-sso", "sub": "mallory"}]}`)
	load := func(section string) (problems []string, warnings string) {
		t.Helper()
		write(t, "auth.json", section)
		write(t, "config.json", `{"main": {"addr": "127.0.0.1:0"}, "metrics": {"load": {"frequency": 60}},
			"metric-store": {"retention-in-memory": "48h"}, "nats": {"embedded": {"listen": "127.0.0.1:0"}}, "auth-file": "auth.json"}`)
		cfg, err := Load("config.json")
		if err != nil {
			if _, ok := errors.AsType[ConfigError](err); !ok {
				t.Errorf("%T", err)
			}
			return strings.Split(err.Error(), "\n"), ""
		}
		var log bytes.Buffer
		if err := Check(t.Context(), cfg, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			return strings.Split(err.Error(), "\n"), ""
		}
		return nil, log.String()
	}
	refused := func(section string, want ...string) {
		t.Helper()
		got, _ := load(section)
		for n, w := range want {
			if n >= len(got) || got[n] != "config.json: "+w {
				t.Errorf("problem %d: %q\nwant config.json: %s", n, got, w)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d problems, want %d: %q", len(got), len(want), got)
		}
	}
	const ingest, bot = `{"service-account-ingest":{"role":"api","clusters":["fritz"]}}`, `{"ingestion-bot":{"role":"api","clusters":["fritz"]}}`
	refused(auth090,
		`auth.issuers[1] "hpc-sso": role-map: it maps roles only, and these are subjects; move them: "principal-map": `+ingest,
		`auth.issuers[2] "openmetadata": role-map: it maps values of roles-claims, of which there are none; move them: "principal-map": `+bot,
		`auth.jobs.nats.publishers[0]: "slurmctld" names no issuer, so every issuer's subject of this name could report jobs: write `+
			`"cc-backend:slurmctld" or "hpc-sso:slurmctld"`)
	upgraded := strings.NewReplacer(
		`, "service-account-ingest": { "role": "api", "clusters": ["fritz"] } }`, ` }, "principal-map": `+ingest,
		`"role-map": { "ingestion-bot": { "role": "api", "clusters": ["fritz"] } }`, `"principal-map": `+bot,
		`"slurmctld"`, `"cc-backend:slurmctld"`,
	).Replace(auth090)
	refused(upgraded, `auth.issuers[2] "openmetadata": principal-map: "ingestion-bot": people may choose their username, one of principal-claims: `+
		`use a claim that they cannot choose, such as sub, or set "trust-is-bot": true if the issuer sets isBot for bots only`)
	upgraded = strings.Replace(upgraded, `"principal-claims": ["username"],`, `"principal-claims": ["username"], "trust-is-bot": true,`, 1)
	problems, warnings := load(upgraded)
	if problems != nil {
		t.Fatalf("%q", problems)
	}
	for _, want := range []string{
		"job-user-claim", `claim=preferred_username`, "a revocation by name is evaded",
		`{\"issuer\": \"hpc-sso\", \"name\": \"mallory\", \"sub\": \"SUB\"}`,
	} {
		if !strings.Contains(warnings, want) {
			t.Errorf("no %s in\n%s", want, warnings)
		}
	}
	write(t, "revoked.json", `{"subjects": [{"issuer": "hpc-sso", "name": "mallory", "sub": "f8f2"}]}`)
	if _, warnings := load(upgraded); strings.Contains(warnings, "evaded") {
		t.Error(warnings)
	}
}

// TestGuestsOf090: where version 0.9.0 let every client publish to its embedded server, the choices
// are named. With either text in place the configuration is accepted, and only guests are warned of.
func TestGuestsOf090(t *testing.T) {
	load := func(nats, subscription string) (*configs.Config, error) {
		file := filepath.Join(t.TempDir(), "config.json")
		write(t, file, `{"main": {"addr": "127.0.0.1:0", "jwt-public-key": "`+authtest.NewIssuer("i").PublicKeyBase64()+`"}, "metrics": {"load": {"frequency": 60}},
			"nats": {`+nats+`"embedded": {"listen": "127.0.0.1:0"}},
			"metric-store": {"retention-in-memory": "48h", "nats-subscriptions": [{"subscribe-to": "hpc", `+subscription+`"authorization": "header"}]}}`)
		return Load(file)
	}
	const password, guests = `"nats": {"username": "NAME", "password": "file:PATH"}`, `"guests": true`
	_, err := load("", "")
	if err == nil || !strings.Contains(err.Error(), password) || !strings.Contains(err.Error(), guests) {
		t.Fatal(err)
	}
	cfg, err := load("", guests+", ")
	if err != nil || len(cfg.Warnings) == 0 || !strings.Contains(cfg.Warnings[0].String(), "without a token or password") {
		t.Errorf("%v, %v", cfg, err)
	}
	cfg, err = load(strings.TrimSuffix(strings.TrimPrefix(password, `"nats": {`), "}")+", ", "")
	if err != nil || len(cfg.Warnings) > 0 {
		t.Errorf("%v, %v", cfg, err)
	}
}

// TestPublishers: a publisher is of one issuer, which it names, and its name is one that nobody can
// choose. Only if main.jwt-public-key is the only issuer, the subject alone is enough.
func TestPublishers(t *testing.T) {
	f := func(want, main, issuers, publisher string) {
		t.Helper()
		list, err := json.Marshal([]string{publisher})
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "config.json")
		write(t, file, `{"main": {"addr": "127.0.0.1:0"`+main+`}, "metrics": {"load": {"frequency": 60}}, "metric-store": {"retention-in-memory": "48h"},
			"nats": {"embedded": {"listen": "127.0.0.1:0"}}, "auth": {"issuers": [`+issuers+`], "jobs": {"nats": {"subject": "jobs", "publishers": `+string(list)+`}}}}`)
		cfg, err := Load(file)
		if err != nil {
			if want == "" || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %s", publisher, err, want)
			}
			return
		}
		got, err := publishers(cfg)
		if err != nil || len(got) != 1 || got[0].Issuer+" "+got[0].Subject != want {
			t.Errorf("%s: %q, %v; want %s", publisher, got, err, want)
		}
	}
	key := authtest.NewIssuer("key").PublicKeyBase64()
	main := `, "jwt-public-key": "` + key + `"`
	issuer := func(name, iss, more string) string {
		return `{"name": "` + name + `", "issuer": "` + iss + `", "public-key": "` + key + `"` + more + `}`
	}
	const noIssuer = `names no issuer, so every issuer's subject of this name could report jobs: write `
	f("jwt-public-key slurmctld", main, "", "slurmctld")
	f("jwt-public-key slurmctld", main, "", "jwt-public-key:slurmctld")
	f(noIssuer+`"jwt-public-key:i:slurmctld"`, main, "", "i:slurmctld")
	sso := issuer("sso", "https://sso", `, "principal-claims": ["preferred_username"]`)
	f(noIssuer+`"jwt-public-key:slurmctld"`, main, sso, "slurmctld")
	f("jwt-public-key slurmctld", main, sso, "jwt-public-key:slurmctld")
	f("can be impersonated: people choose all principal-claims of the issuer \"sso\"", main, sso, "sso:slurmctld")
	f("sso service-account-slurm", main, sso, "sso:service-account-slurm")
	f("names no issuer: write ISSUER:SUBJECT", "", sso, "slurmctld")
	f(noIssuer+`"cc:slurmctld"`, "", issuer("cc", "", ""), "slurmctld")
	f("cc slurmctld", "", issuer("cc", "", ""), "cc:slurmctld")
	f("cc system:slurmctld", "", issuer("cc", "", ""), "cc:system:slurmctld")
	f(`may be of the issuer "a" or "a:b"`, "", issuer("a", "x", "")+","+issuer("a:b", "y", ""), "a:b:slurmctld")
	f(noIssuer+`"cc:CC:slurmctld"`, "", issuer("cc", "", ""), "CC:slurmctld")
	f(`names no issuer`, "", issuer("cc", "", ""), "cc:")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
