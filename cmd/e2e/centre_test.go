package e2e

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ringstore/ringstore/auth/authtest"
	"github.com/ringstore/ringstore/cmd/internal/cmdtest"
)

const (
	realm  = "https://sso.example.org/realms/data-sec"
	tenant = "72f988bf-86f1-41af-91ab-2d7cd011db47"
	object = "11111111-2222-4333-8444-555555555555"
	appID  = "c4a2a7a0-0d1f-4e3b-9a53-000000000001"
)

// rsaSigners are made once, which takes a second.
var rsaSigners = sync.OnceValue(func() (s [4]*authtest.Signer) {
	for i := range s {
		s[i] = authtest.NewSigner("RS256", "")
	}
	return s
})

// mallory is a key that no issuer uses.
func mallory() *authtest.Signer { return rsaSigners()[3] }

// centre is a computing centre's issuers as in the example configuration, with keys in files, at
// URLs and in the environment.
type centre struct {
	settings
	directory string       // of the files
	issuers   []jsonObject // of the settings
	web       *httptest.Server

	cc, keycloak, openMetadata, dataHub, entra *authtest.Signer
}

// jsonObject is a JSON object.
type jsonObject = map[string]any

func newCentre(t testing.TB) *centre {
	t.Helper()
	keys := rsaSigners()
	c := &centre{
		settings: newSettings(t), directory: t.TempDir(),
		cc: authtest.NewSigner("EdDSA", ""), keycloak: keys[0].Named("kc-1"), openMetadata: keys[1].Named("Gb389a-9f76-gdjs-a92j-0242bk94356"),
		dataHub: authtest.NewSigner("HS256", ""), entra: keys[2].Named("e1"),
	}

	c.web = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(jwks(c.entra))
	}))
	t.Cleanup(c.web.Close)
	c.issuers = []jsonObject{
		{"name": "cc-backend", "public-key-file": c.file("cc.pem", pemOf("PUBLIC KEY", spki(t, c.cc)))},
		{
			"name": "hpc-sso", "issuer": realm, "jwks-file": c.file("sso.json", jwks(c.keycloak)),
			"audience": []string{"metric-store"}, "authorized-parties": []string{"jupyter", "ingest"}, "algorithms": []string{"RS256", "ES256"},
			"principal-claims": []string{"preferred_username", "email", "sub"}, "job-user-claim": "preferred_username",
			"roles-claims": []string{"realm_access.roles", "resource_access.metric-store.roles"},
			"role-map": jsonObject{
				"hpc-admin": "admin", "student": "user",
			},
			"principal-map":  jsonObject{"service-account-ingest": jsonObject{"role": "api", "clusters": []string{"fritz"}}},
			"require-claims": jsonObject{"typ": "Bearer"},
		},
		{
			"name": "openmetadata", "issuer": "open-metadata.org", "public-key-file": c.file("om.der", spki(t, c.openMetadata)),
			"key-id": c.openMetadata.KID(), "principal-map": jsonObject{"ingestion-bot": "api"}, "clusters": []string{"fritz"}, "require-expiry": false,
		},
		{
			"name": "datahub", "issuer": "datahub-metadata-service", "shared-secret": "base64:file:" +
				c.file("datahub", base64.StdEncoding.AppendEncode(nil, c.dataHub.Secret())),
			"algorithms": []string{"HS256"}, "principal-claims": []string{"actorId"}, "default-roles": []string{"support"},
			"require-claims": jsonObject{"type": []string{"PERSONAL", "SESSION"}, "version": []string{"1", "2"}},
		},
		{
			"name": "entra-v1", "issuer": "https://sts.windows.net/" + tenant + "/", "jwks-urls": []string{c.web.URL},
			"audience": []string{"api://metric-store"}, "authorized-parties": []string{appID},
			"roles-claims": []string{"roles"}, "role-map": jsonObject{"Metrics.Read": "support"},
		},
		{
			"name": "entra-v2", "issuer": "https://login.microsoftonline.com/" + tenant + "/v2.0", "jwks-urls": []string{c.web.URL},
			"audience": []string{"6e74172b-be56-4843-9ff4-e66a39bb12e3"}, "roles-claims": []string{"roles"},
			"role-map":      jsonObject{"Metrics.Read": "support"},
			"principal-map": jsonObject{tenant + "/" + object: "manager"},
		},
	}
	delete(c.settings["main"], "jwt-public-key")
	c.settings["auth"] = jsonObject{"issuers": c.issuers, "max-lifetime": "2160h"}
	return c
}

// file writes a file among the centre's keys, replacing an existing one atomically.
func (c *centre) file(name string, data []byte) string {
	path := filepath.Join(c.directory, name)
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		panic(err)
	}
	return path
}

// spki returns a public key in DER.
func spki(t testing.TB, s *authtest.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(s.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// jwks returns a JWK set of RSA keys.
func jwks(signers ...*authtest.Signer) []byte {
	var keys []jsonObject
	for _, s := range signers {
		key := s.Public().(*rsa.PublicKey)
		number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
		keys = append(keys, jsonObject{
			"kty": "RSA", "use": "sig", "alg": "RS256", "kid": s.KID(), "n": number(key.N), "e": number(big.NewInt(int64(key.E))),
		})
	}
	return mustJSON(jsonObject{"keys": keys})
}

// with returns claims with changes; nil removes a claim.
func with(claims, changes map[string]any) map[string]any {
	claims = maps.Clone(claims)
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return claims
}

// audited returns the last refusal in an audit log.
func audited(t testing.TB, log string) (last struct {
	Issuer, Subject, Code string
	Roles                 []string
},
) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(cmdtest.ReadFile(t, log)), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	return last
}

// does returns the status codes of a query, a write (to cluster fritz) and a free with a token.
func (p *program) does(t testing.TB, token string) string {
	t.Helper()
	var all []string
	for _, r := range []struct{ path, body string }{
		{"/api/query", "{}"},
		{"/api/write/?cluster=fritz", fmt.Sprintf("cpu_load,hostname=n1 value=1 %d", now()-60)},
		{"/api/free/?to=1", `[["fritz"]]`},
	} {
		all = append(all, fmt.Sprint(p.send(t, token, "POST", r.path, r.body).status))
	}
	return strings.Join(all, " ")
}
