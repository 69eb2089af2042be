// Package azurekv reads secrets from Azure Key Vault.
//
// It wraps azidentity and azsecrets: login, the address of a vault, timeouts, and errors that
// contain no value. It opens nothing and reads nothing from the environment before the first secret
// is requested, so it costs nothing without a reference to a vault.
package azurekv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
)

// Options of [Vaults]. The zero value logs in with azidentity's DefaultAzureCredential: by the
// environment (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET), a workload identity, a
// managed identity or the Azure command line.
type Options struct {
	// TenantID, ClientID and ClientSecret are the login of an application; either all are set or
	// none.
	TenantID, ClientID, ClientSecret string
	// AuthorityHost is the https URL of the identity service; empty: that of the public cloud. Any
	// other is trusted without asking Microsoft whether it exists.
	AuthorityHost string
	// NamePrefix and a hyphen are put before the name of every secret; empty: nothing.
	NamePrefix string
	// Timeout is the maximum duration of a call of Secret, login and retries included. Default 20
	// s.
	Timeout time.Duration
	// Transport sends the requests; nil: HTTPS, following no redirects. For tests.
	Transport policy.Transporter
}

// publicSuffix completes the name of a vault in the public cloud.
const publicSuffix = ".vault.azure.net"

// maxResponseBytes is more than any response with a secret: 25 KB of value, tags, and what JSON
// adds.
const maxResponseBytes = 256 << 10

// Vaults reads from all vaults with one login. It may be used concurrently and need not be closed.
type Vaults struct {
	options Options

	mu         sync.Mutex
	credential azcore.TokenCredential
	clients    map[string]*azsecrets.Client // by host
}

// New returns Vaults. It opens no connection.
func New(o Options) *Vaults {
	o.Timeout = cmp.Or(o.Timeout, 20*time.Second)
	if o.Transport == nil {
		o.Transport = &http.Client{
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	o.Transport = bounded{o.Transport}
	return &Vaults{options: o, clients: map[string]*azsecrets.Client{}}
}

// Secret returns the value of a secret. vault is the name of a vault in the public cloud or its
// full host[:port]. An empty version is the newest. Errors show only the status and the error code
// of a response.
func (v *Vaults) Secret(ctx context.Context, vault, name, version string) (value string, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	// azsecrets panics on some malformed challenges of a vault (internal v1.2.0, parseTenant).
	defer func() {
		if recover() != nil {
			value, err = "", errors.New("malformed response of the vault")
		}
	}()
	client, err := v.client(vault)
	if err != nil {
		return "", withoutResponse(err)
	}
	if v.options.NamePrefix != "" {
		name = v.options.NamePrefix + "-" + name
	}
	response, err := client.GetSecret(ctx, name, version, nil)
	if err != nil {
		return "", withoutResponse(err)
	}
	if response.Value == nil {
		return "", errors.New("the vault returned no value")
	}
	return *response.Value, nil
}

func (v *Vaults) client(vault string) (*azsecrets.Client, error) {
	host := vault
	if !strings.Contains(vault, ".") {
		host += publicSuffix
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if client := v.clients[host]; client != nil {
		return client, nil
	}
	if v.credential == nil {
		credential, err := v.login()
		if err != nil {
			return nil, err
		}
		v.credential = credential
	}
	client, err := azsecrets.NewClient("https://"+host, v.credential, &azsecrets.ClientOptions{ClientOptions: v.core()})
	if err == nil {
		v.clients[host] = client
	}
	return client, err
}

func (v *Vaults) login() (azcore.TokenCredential, error) {
	o, private := v.options, v.options.AuthorityHost != ""
	if o.ClientSecret == "" {
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
			ClientOptions: v.core(), TenantID: o.TenantID, DisableInstanceDiscovery: private,
		})
	}
	return azidentity.NewClientSecretCredential(o.TenantID, o.ClientID, o.ClientSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: v.core(), DisableInstanceDiscovery: private})
}

func (v *Vaults) core() azcore.ClientOptions {
	o := azcore.ClientOptions{
		Transport: v.options.Transport,
		Retry:     policy.RetryOptions{MaxRetries: 2, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: 2 * time.Second},
		Telemetry: policy.TelemetryOptions{Disabled: true},
	}
	if v.options.AuthorityHost != "" {
		o.Cloud = cloud.Configuration{ActiveDirectoryAuthorityHost: v.options.AuthorityHost}
	}
	return o
}

// withoutResponse returns an error without the body of a response, which azcore's errors contain.
func withoutResponse(err error) error {
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("refused by the vault: status %d, %s", refused.StatusCode, cmp.Or(short(refused.ErrorCode), "no code"))
	}
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		if failed.RawResponse != nil {
			return fmt.Errorf("refused by the identity service: status %d", failed.RawResponse.StatusCode)
		}
		return fmt.Errorf("logging in at the identity service: %s", short(failed.Error()))
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return errors.New(short(err.Error()))
}

// short returns text as one printable line of at most 500 bytes.
func short(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if len(text) > 500 {
		return text[:500] + "..."
	}
	return text
}

// bounded cuts responses off after maxResponseBytes, which makes them malformed.
type bounded struct{ next policy.Transporter }

func (b bounded) Do(r *http.Request) (*http.Response, error) {
	response, err := b.next.Do(r)
	if err == nil {
		response.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(response.Body, maxResponseBytes), response.Body}
	}
	return response, err
}
