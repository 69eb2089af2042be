package e2e

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringstore/ringstore/auth/authtest"
)

// TestIssuers: tokens in the form of each issuer are accepted with the right principal and roles.
// With one thing wrong they are refused for the right reason.
func TestIssuers(t *testing.T) {
	c := newCentre(t)
	log := filepath.Join(t.TempDir(), "audit.log")
	c.settings["auth"]["audit-log"] = log
	p := serve(t, c.settings)
	now := time.Now()

	good := func(name, token, does, who string) {
		t.Helper()
		if got := p.does(t, token); got != does {
			t.Errorf("%s: query, write, free: %s, want %s", name, got, does)
		}
		if !strings.HasSuffix(does, "403") { // nothing was refused that would be audited last
			return
		}
		a := audited(t, log)
		if got := fmt.Sprintf("%s %s %s", a.Issuer, a.Subject, strings.Join(a.Roles, ",")); got != who {
			t.Errorf("%s: %s, want %s", name, got, who)
		}
	}
	user := authtest.KeycloakUser(now, realm, "jupyter", "alice", "student")
	account := authtest.KeycloakServiceAccount(now, realm, "ingest")
	bot := authtest.OpenMetadataBot(now, "ingestion-bot")
	personal := authtest.DataHub(now, "PERSONAL", "alice")
	v1 := authtest.EntraV1(now, tenant, object, "Metrics.Read")
	v2 := authtest.EntraV2(now, tenant, object, "Metrics.Read")
	good("cc-backend, api", c.cc.Token(authtest.CCBackend(now, "collector", "api")), "200 200 403", "cc-backend collector api")
	good("cc-backend, user", c.cc.Token(authtest.CCBackend(now, "alice", "user")), "403 403 403", "cc-backend alice user")
	good("Keycloak, user", c.keycloak.Token(user), "403 403 403", "hpc-sso alice user")
	good("Keycloak, admin", c.keycloak.Token(authtest.KeycloakUser(now, realm, "jupyter", "root", "hpc-admin")), "200 200 200", "")
	good("Keycloak, service account", c.keycloak.Token(account), "200 200 403", "hpc-sso service-account-ingest api")
	good("OpenMetadata, bot", c.openMetadata.Token(bot), "200 200 403", "openmetadata ingestion-bot api")
	p.stopWell(t) // one peer gets ten audit lines a second for one reason
	p = serve(t, c.settings)
	good("DataHub, PERSONAL", c.dataHub.Token(personal), "200 403 403", "datahub alice support")
	good("DataHub, SESSION", c.dataHub.Token(authtest.DataHub(now, "SESSION", "bob")), "200 403 403", "datahub bob support")
	good("Entra, v1", c.entra.Token(v1), "200 403 403", "entra-v1 "+tenant+"/"+object+" support")
	good("Entra, v2", c.entra.Token(v2), "200 403 403", "entra-v2 "+tenant+"/"+object+" support,manager")

	type m = map[string]any
	bad := func(name, token, reason string) {
		t.Helper()
		got := p.send(t, token, "POST", "/api/query", "{}")
		if a := audited(t, log); got.status != 401 || a.Code != reason || a.Subject != "" {
			t.Errorf("%s: %d, %q of %q, want %s", name, got.status, a.Code, a.Subject, reason)
		}
	}
	cc := authtest.CCBackend(now, "alice", "admin")
	bad("cc-backend, another key", authtest.NewSigner("EdDSA", "").Token(cc), "bad_signature")
	bad("cc-backend, an unknown iss", c.cc.Token(with(cc, m{"iss": "cc-backend"})), "unknown_issuer")
	bad("cc-backend, an empty iss", c.cc.Token(with(cc, m{"iss": ""})), "unknown_issuer")
	bad("cc-backend, expired", c.cc.Token(with(cc, m{"exp": now.Unix() - 60})), "expired")
	bad("cc-backend, roles as a string", c.cc.Token(with(cc, m{"roles": "admin"})), "bad_claims")
	bad("cc-backend, good for a year", c.cc.Token(with(cc, m{"exp": now.AddDate(1, 0, 0).Unix()})), "too_long_lived")
	bad("Keycloak, for another audience", c.keycloak.Token(with(user, m{"aud": "account"})), "wrong_audience")
	bad("Keycloak, of another client", c.keycloak.Token(with(user, m{"azp": "game"})), "wrong_party")
	bad("Keycloak, an ID token", c.keycloak.Token(with(user, m{"typ": "ID"})), "wrong_type")
	bad("Keycloak, no typ", c.keycloak.Token(with(user, m{"typ": nil})), "wrong_claim")
	bad("Keycloak, no exp", c.keycloak.Token(with(user, m{"exp": nil})), "no_expiry")
	bad("Keycloak, a user called as the account", c.keycloak.Token(with(account, m{"client_id": nil})), "bad_claims")
	bad("Keycloak, another algorithm", c.keycloak.As("RS512").Token(user), "bad_algorithm")
	bad("Keycloak, another kid", c.keycloak.Named("kc-2").Token(user), "unknown_key")
	bad("Keycloak, the key of OpenMetadata", c.openMetadata.Token(user), "unknown_key")
	bad("Keycloak, the same under its kid", c.openMetadata.Named("kc-1").Token(user), "bad_signature")
	bad("Keycloak, DataHub's secret", c.dataHub.Named("kc-1").Token(user), "bad_algorithm")
	bad("OpenMetadata, no key of that name", c.openMetadata.Named("x").Token(bot), "unknown_key")
	bad("OpenMetadata, exp as text", c.openMetadata.Token(with(bot, m{"exp": "never"})), "bad_claims")
	bad("DataHub, another kind", c.dataHub.Token(with(personal, m{"type": "SERVICE"})), "wrong_claim")
	bad("DataHub, another secret", authtest.NewSigner("HS256", "").Token(personal), "bad_signature")
	bad("DataHub, without expiry", c.dataHub.Token(with(personal, m{"exp": nil})), "no_expiry")
	bad("Entra, another tenant", c.entra.Token(with(v1, m{"tid": object})), "wrong_tenant")
	bad("Entra, an ID token", c.entra.Token(with(v1, m{"appid": nil})), "wrong_type")
	bad("Entra, v2 for v1", c.entra.Token(with(v2, m{"iss": v1["iss"]})), "wrong_audience")
	bad("Entra, a forgery", mallory().Named("e1").Token(v2), "bad_signature")
}

// TestClustersOverREST: a principal restricted to clusters can write to these only; other lines of
// a batch are rejected.
func TestClustersOverREST(t *testing.T) {
	c := newCentre(t)
	log := filepath.Join(t.TempDir(), "audit.log")
	c.settings["auth"]["audit-log"] = log
	p := serve(t, c.settings)
	when := time.Now()
	bot := c.openMetadata.Token(authtest.OpenMetadataBot(when, "ingestion-bot"))
	line := func(cluster string) string {
		return fmt.Sprintf("cpu_load,cluster=%s,hostname=n1 value=1 %d\n", cluster, now()-60)
	}
	for range 2 { // the second time with keys that are known
		got := p.send(t, bot, "POST", "/api/write/?cluster=fritz", line("alex")+line("fritz")+line("alex"))
		if f := got.failure(t); got.status != 400 || f.Accepted != 1 || len(f.Rejected) != 2 || f.Rejected[1].Line != 3 ||
			!strings.Contains(f.Rejected[0].Reason, "not permitted on this cluster") {
			t.Errorf("%d %s", got.status, got.body)
		}
		if a := audited(t, log); a.Code != "other_cluster" || a.Subject != "ingestion-bot" {
			t.Errorf("audited: %+v", a)
		}
		// A principal without a restriction makes the series known.
		if got := p.send(t, c.cc.Token(authtest.CCBackend(when, "a", "api")), "POST", "/api/write/", line("alex")); got.status != 200 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	if n := p.send(t, c.cc.Token(authtest.CCBackend(when, "a", "admin")), "GET", "/metrics", "").body; !strings.Contains(n,
		`ringstore_auth_refusals_total{reason="other_cluster",transport="http"} 2`) {
		t.Error("not counted")
	}
}
