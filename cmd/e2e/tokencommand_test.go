package e2e

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

// TestToken: ringstore token decides as the server would and exits with 1 for a refused token. It
// never prints a signature, and prints only configured claims unless -v is given.
func TestToken(t *testing.T) {
	c := newCentre(t)
	c.settings["auth"]["revocation-file"] = c.file("revoked.json", []byte(`{"subjects": [{"issuer": "datahub", "sub": "mallory"}]}`))
	config := c.settings.file(t)
	when := time.Now()
	user := authtest.KeycloakUser(when, realm, "jupyter", "alice", "student")
	user["note"] = "\x1b[2Jhunter2\u202e"

	f := func(name, token string, code int, stderr string, lines ...string) {
		t.Helper()
		file := cmdtest.WriteFile(t, filepath.Join(t.TempDir(), "token"), []byte(token+"\n"))
		signature := token[strings.LastIndexByte(token, '.')+1:]
		for _, args := range [][]string{{"-config", config, file}, {"-config", config, "-"}, {"-config", config, "-v", file}} {
			got := runCommand(t, []byte(token), append([]string{"token"}, args...)...)
			if got.code != code || got.stderr != stderr {
				t.Errorf("%s: exit code %d, %q, want %d, %q", name, got.code, got.stderr, code, stderr)
			}
			text := "\n" + strings.Join(strings.Fields(strings.ReplaceAll(got.stdout, "\n", " | ")), " ") + " |"
			for _, line := range lines {
				if !strings.Contains(text, line+" |") {
					t.Errorf("%s: no line %q in\n%s", name, line, got.stdout)
				}
			}
			if len(signature) > 10 && strings.Contains(got.stdout, signature) || strings.ContainsAny(got.stdout, "\x1b\u202e") {
				t.Errorf("%s: prints what it must not:\n%q", name, got.stdout)
			}
			if verbose := args[2] == "-v"; strings.Contains(got.stdout, "hunter2") != (verbose && strings.Contains(name, "note")) {
				t.Errorf("%s, %q: the claim that is not configured:\n%s", name, args, got.stdout)
			}
		}
	}
	refused := func(reason string) string { return "ringstore: the token is refused: " + reason + "\n" }
	const unverified = "verdict refused; the claims above are unverified"
	f("garbage", "garbage", 1, refused("malformed"), "format FAILED: malformed: not three parts joined by dots", unverified)
	f("nothing", "", 1, refused("missing"), unverified)
	f("an unknown issuer", c.cc.Token(jsonObject{"iss": "x", "sub": "a"}), 1, refused("unknown_issuer"), "issuer FAILED: unknown_issuer", `claim iss "x"`, unverified)
	f("another key", mallory().Named("kc-1").Token(with(user, map[string]any{"note": nil})), 1, refused("bad_signature"),
		"issuer hpc-sso", "audience passed", `tried RSA 2048 with the kid "kc-1"`, "signature FAILED: bad_signature", unverified)
	f("expired", c.keycloak.Token(with(user, map[string]any{"exp": 1, "note": nil})), 1, refused("expired"),
		"times FAILED: expired", `fits RSA 2048 with the kid "kc-1", of the issuer hpc-sso`, unverified)
	f("unknown key", c.entra.Named("e9").Token(authtest.EntraV1(when, tenant, object)), 1, refused("unknown_key"), "key FAILED: unknown_key", unverified)
	f("revoked", c.dataHub.Token(authtest.DataHub(when, "PERSONAL", "mallory")), 1, refused("revoked"), "revocation FAILED: revoked", unverified)
	f("wrong claim", c.keycloak.Token(with(user, map[string]any{"typ": "x", "note": nil})), 1, refused("wrong_claim"),
		"required claims FAILED: wrong_claim: typ", unverified)

	f("with a note", c.keycloak.Token(user), 0, "",
		"issuer hpc-sso", "signature passed", `signed with RSA 2048 with the kid "kc-1"`, `claim preferred_username "alice"`,
		"principal alice", "roles user", "cluster user alice", "may whoami everywhere", "verdict accepted")
	f("bot", c.openMetadata.Token(authtest.OpenMetadataBot(when, "ingestion-bot")), 0, "",
		"principal ingestion-bot", "roles api", "clusters fritz", "may query on fritz", "may write on fritz", "verdict accepted")
	f("service account", c.keycloak.Token(authtest.KeycloakServiceAccount(when, realm, "ingest")), 0, "",
		"role api on fritz only", "may write on fritz", "verdict accepted")
	f("cc-backend", c.cc.Token(authtest.CCBackend(when, "root", "admin")), 0, "",
		"signed with Ed25519 without a kid", "may free everywhere", "verdict accepted")

	// The token may be in a header, as people copy it.
	good := c.cc.Token(authtest.CCBackend(when, "root", "admin"))
	for text, code := range map[string]int{
		"Bearer " + good: 0, "bearer  " + good + " \n": 0, "Authorization: Bearer " + good + "\r\n": 0, "authorization:BEARER " + good: 0,
		"X-Auth-Token: " + good: 0, "Authorization: Basic " + good: 1, "Authorization: " + good: 1, "Authorization:": 1, "Token " + good: 1, "Bearer": 1,
		"Cookie: " + good: 1, "Bearer " + good + " " + good: 1, "Authorization: Authorization: Bearer " + good: 1,
	} {
		got := runCommand(t, []byte(text), "token", "-config", config, "-")
		if got.code != code || strings.Contains(got.stdout, "accepted\n") != (code == 0) {
			t.Errorf("%.30q: exit code %d, %s%s", text, got.code, got.stdout, got.stderr)
		}
	}
	// A refused token has no rights, whatever it claims.
	if got := runCommand(t, []byte(mallory().Token(authtest.CCBackend(when, "root", "admin"))), "token", "-config", config, "-"); got.code != 1 || strings.Contains(got.stdout, "may ") {
		t.Errorf("a forged token: %s", got.stdout)
	}
	// Projects of the projects file are shown with those of the token.
	c.settings["main"]["backend-url"] = "http://127.0.0.1:1"
	t.Setenv("RINGSTORE_TEST_TOKEN", "x")
	c.settings["auth"]["jobs"] = jsonObject{
		"backend": jsonObject{"token": "env:RINGSTORE_TEST_TOKEN"}, "projects-file": c.file("projects.json", []byte(`{"root": ["p7"]}`)),
	}
	if got := runCommand(t, []byte(good), "token", "-config", c.settings.file(t), "-"); got.code != 0 || !regexp.MustCompile(`(?m)^projects +p7$`).MatchString(got.stdout) {
		t.Errorf("projects: %s%s", got.stdout, got.stderr)
	}

	// Without an issuer's keys, its tokens cannot be verified.
	c.issuers[4]["jwks-urls"] = []string{"http://127.0.0.1:1/jwks"}
	config = c.settings.file(t)
	got := runCommand(t, []byte(c.entra.Token(authtest.EntraV1(when, tenant, object))), "token", "-config", config, "-")
	if got.code != exitFailure || !strings.Contains(got.stderr, "http://127.0.0.1:1/jwks") || !strings.Contains(got.stderr, "ringstore: token not verified: no_keys\n") {
		t.Errorf("no keys: exit code %d, %s", got.code, got.stderr)
	}
	disabled := newSettings(t)
	disabled["auth"] = jsonObject{"disabled": true}
	if got := runCommand(t, []byte("x"), "token", "-config", disabled.file(t), "-"); got.code != exitBadUsage || got.stdout != "" {
		t.Errorf("disabled: exit code %d, %s", got.code, got.stderr)
	}
}
