package azurekv_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets/fake"
	"go.uber.org/goleak"

	"github.com/ringstore/ringstore/configs/secrets/azurekv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "hunter2-the-password"

// cloud fakes Azure: azsecrets' own fake of a vault, and an identity service that issues a token for
// a password.
type cloud struct {
	identity *httptest.Server
	vault    policy.Transporter

	mu        sync.Mutex
	requested []string // name/version of each requested secret
	logins    []string // tenant/client/scope of each token given
}

func newCloud(t *testing.T, value string) *cloud {
	c := &cloud{}
	c.vault = fake.NewServerTransport(&fake.Server{
		GetSecret: func(_ context.Context, name, version string, _ *azsecrets.GetSecretOptions) (
			answer azfake.Responder[azsecrets.GetSecretResponse], refusal azfake.ErrorResponder,
		) {
			switch {
			case strings.HasSuffix(name, "forbidden"):
				refusal.SetResponseError(http.StatusForbidden, "Forbidden")
			case strings.HasSuffix(name, "broken"):
				refusal.SetError(errors.New("cable cut"))
			default:
				secret := azsecrets.Secret{Value: &value}
				if strings.HasSuffix(name, "void") {
					secret.Value = nil
				}
				answer.SetResponse(http.StatusOK, azsecrets.GetSecretResponse{Secret: secret}, nil)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.requested = append(c.requested, name+"/"+version)
			return answer, refusal
		},
	})
	c.identity = httptest.NewTLSServer(http.HandlerFunc(c.identify))
	t.Cleanup(c.identity.Close)
	return c
}

// identify serves the requests of MSAL: metadata, and a token for a client's password.
func (c *cloud) identify(w http.ResponseWriter, r *http.Request) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	w.Header().Set("Content-Type", "application/json")
	answer := func(status int, body map[string]any) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
	switch rest {
	case "v2.0/.well-known/openid-configuration":
		base := c.identity.URL + "/" + tenant
		answer(http.StatusOK, map[string]any{
			"issuer": base + "/v2.0", "authorization_endpoint": base + "/oauth2/v2.0/authorize", "token_endpoint": base + "/oauth2/v2.0/token",
		})
	case "oauth2/v2.0/token":
		if r.PostFormValue("client_secret") != password {
			answer(http.StatusUnauthorized, map[string]any{
				"error": "invalid_client", "error_description": "not " + r.PostFormValue("client_secret"),
			})
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.logins = append(c.logins, tenant+"/"+r.PostFormValue("client_id")+"/"+r.PostFormValue("scope"))
		answer(http.StatusOK, map[string]any{"access_token": "token", "token_type": "Bearer", "expires_in": 3600})
	default:
		answer(http.StatusNotFound, map[string]any{"error": "not_found"})
	}
}

// Do passes a request to the identity service or to the vault.
func (c *cloud) Do(r *http.Request) (*http.Response, error) {
	if "https://"+r.URL.Host == c.identity.URL {
		return c.identity.Client().Do(r)
	}
	return c.vault.Do(r)
}

func (c *cloud) options() azurekv.Options {
	return azurekv.Options{
		TenantID: "tenant", ClientID: "ringstore", ClientSecret: password, AuthorityHost: c.identity.URL, Transport: c,
	}
}

func TestSecret(t *testing.T) {
	c := newCloud(t, "hunter2")
	vaults := azurekv.New(c.options())
	f := func(vault, name, version string) {
		t.Helper()
		if value, err := vaults.Secret(t.Context(), vault, name, version); value != "hunter2" || err != nil {
			t.Errorf("%s/%s/%s: %q, %v", vault, name, version, value, err)
		}
	}
	f("hpc-vault", "key", "")
	f("hpc-vault", "key", "0123456789abcdef")
	f("hpc-vault.vault.azure.cn", "other", "")
	if want := "key/ key/0123456789abcdef other/"; strings.Join(c.requested, " ") != want {
		t.Errorf("requested %q, want %s", c.requested, want)
	}
	if want := "tenant/ringstore/https://vault.azure.net/.default"; len(c.logins) == 0 || !strings.HasPrefix(c.logins[0], want) {
		t.Errorf("logged in as %q, want %s", c.logins, want)
	}
}

func TestNamePrefix(t *testing.T) {
	c := newCloud(t, "hunter2")
	o := c.options()
	o.NamePrefix = "prod"
	if _, err := azurekv.New(o).Secret(t.Context(), "hpc-vault", "key", ""); err != nil || c.requested[0] != "prod-key/" {
		t.Errorf("requested %q, %v", c.requested, err)
	}
}

// Without a password, DefaultAzureCredential logs in with the environment.
func TestDefaultCredential(t *testing.T) {
	c := newCloud(t, "hunter2")
	for name, value := range map[string]string{
		"AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "env-client", "AZURE_CLIENT_SECRET": password, "AZURE_TOKEN_CREDENTIALS": "EnvironmentCredential",
	} {
		t.Setenv(name, value)
	}
	vaults := azurekv.New(azurekv.Options{AuthorityHost: c.identity.URL, Transport: c})
	if value, err := vaults.Secret(t.Context(), "hpc-vault", "key", ""); value != "hunter2" || err != nil {
		t.Fatalf("%q, %v", value, err)
	}
	if !strings.Contains(c.logins[0], "/env-client/") {
		t.Errorf("logged in as %q", c.logins)
	}
}

// Errors show the reason, and no part of the request or the response.
func TestSecretFails(t *testing.T) {
	c := newCloud(t, "hunter2")
	f := func(o azurekv.Options, name, want string) {
		t.Helper()
		value, err := azurekv.New(o).Secret(t.Context(), "hpc-vault", name, "")
		if value != "" || err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q, %v", name, value, err)
		}
	}
	with := func(change func(*azurekv.Options)) azurekv.Options { o := c.options(); change(&o); return o }
	f(c.options(), "forbidden", "refused by the vault: status 403, Forbidden")
	f(c.options(), "broken", "cable cut")
	f(c.options(), "void", "returned no value")
	f(with(func(o *azurekv.Options) { o.ClientSecret = "hunter2-wrong" }), "key", "refused by the identity service: status 401")
	f(with(func(o *azurekv.Options) { o.TenantID = "other" }), "key", "configured to acquire tokens for tenant")
	f(with(func(o *azurekv.Options) { o.AuthorityHost = "http://plain.example.org" }), "key", "https")
	f(with(func(o *azurekv.Options) { o.Timeout = time.Nanosecond }), "key", "deadline exceeded")
	f(with(func(o *azurekv.Options) { o.Transport = answering(http.StatusUnauthorized, "Bearer", "") }), "key", "WWW-Authenticate")
	f(with(func(o *azurekv.Options) {
		o.Transport = answering(http.StatusUnauthorized, `Bearer authorization="x", resource="https://vault.azure.net"`, "")
	}), "key", "malformed")
	f(with(func(o *azurekv.Options) {
		o.Transport = answering(http.StatusUnauthorized, `Bearer authorization="https://a/t", resource="https://evil.example"`, "")
	}), "key", "doesn't match")
	f(with(func(o *azurekv.Options) { o.Transport = answering(http.StatusFound, "", "") }), "key", "status 302")
	long := `{"value": "hunter2", "x": "` + strings.Repeat("hunter2", 100_000) + `"}`
	f(with(func(o *azurekv.Options) { o.Transport = answering(http.StatusOK, "", long) }), "key", "")
}

// answering is a vault that always returns the same response.
func answering(status int, challenge, body string) policy.Transporter {
	return always{status, challenge, body}
}

type always struct {
	status          int
	challenge, body string
}

func (a always) Do(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	w.Header().Set("WWW-Authenticate", a.challenge)
	w.WriteHeader(a.status)
	_, _ = w.WriteString(a.body)
	answer := w.Result()
	answer.Request = r
	return answer, nil
}
