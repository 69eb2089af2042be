// Package azurekv is Azure Key Vault as a place for secrets.
//
// It wraps azidentity and azsecrets: who we are, where a vault is, how long it may take, and errors that name no
// value. Nothing is opened or looked up in the environment before the first secret is asked for, so a program that has
// no reference to a vault pays nothing for it.
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

// Options say who asks, and how. The zero value asks as azidentity's DefaultAzureCredential finds itself: by the
// environment (AZURE_TENANT_ID, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET), a workload identity, a managed identity or the
// Azure command line.
type Options struct {
	// TenantID, ClientID and ClientSecret log in as an application; all three are set or none.
	TenantID, ClientID, ClientSecret string
	// AuthorityHost is the https URL of the identity service; empty: the public cloud's. With one of ours it is trusted
	// as it is, and not looked up at Microsoft's.
	AuthorityHost string
	// NamePrefix stands, with a hyphen, in front of every secret's name; empty: nothing.
	NamePrefix string
	// Timeout bounds one call of Secret, tokens and retries included. Default 20 s.
	Timeout time.Duration
	// Transport sends the requests; nil: HTTPS, following no redirects. For tests.
	Transport policy.Transporter
}

// publicSuffix completes the name of a vault in the public cloud.
const publicSuffix = ".vault.azure.net"

// maxAnswerBytes is more than a secret's answer has: 25 KB of value, tags, and what JSON adds.
const maxAnswerBytes = 256 << 10

// Vaults are the vaults that one identity may read. It may be used concurrently, and has nothing to close.
type Vaults struct {
	options Options

	mu         sync.Mutex
	credential azcore.TokenCredential
	clients    map[string]*azsecrets.Client // by host
}

// New opens nothing.
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

// Secret is the value of a secret in a vault, which is named as in the public cloud or by its host[:port] in full. An
// empty version is the newest. Errors show nothing of what vault or identity service answered but the status and the
// error's code.
func (v *Vaults) Secret(ctx context.Context, vault, name, version string) (value string, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.options.Timeout)
	defer cancel()
	// azsecrets indexes into what a vault writes in its challenge, unchecked (internal v1.2.0, parseTenant).
	defer func() {
		if recover() != nil {
			value, err = "", errors.New("the vault's answer is malformed")
		}
	}()
	client, err := v.client(vault)
	if err != nil {
		return "", withoutAnswer(err)
	}
	if v.options.NamePrefix != "" {
		name = v.options.NamePrefix + "-" + name
	}
	answer, err := client.GetSecret(ctx, name, version, nil)
	if err != nil {
		return "", withoutAnswer(err)
	}
	if answer.Value == nil {
		return "", errors.New("the vault gave no value")
	}
	return *answer.Value, nil
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

// withoutAnswer is an error without the body of an answer, which azcore's errors print.
func withoutAnswer(err error) error {
	if refused, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return fmt.Errorf("the vault refuses: status %d, %s", refused.StatusCode, cmp.Or(short(refused.ErrorCode), "no code"))
	}
	if failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		if failed.RawResponse != nil {
			return fmt.Errorf("the identity service refuses: status %d", failed.RawResponse.StatusCode)
		}
		return fmt.Errorf("logging in at the identity service: %s", short(failed.Error()))
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return err
	}
	return errors.New(short(err.Error()))
}

// short is a text on one printable line, not longer than a log can bear.
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

// bounded cuts off answers that are longer than any real one, which makes them malformed.
type bounded struct{ next policy.Transporter }

func (b bounded) Do(r *http.Request) (*http.Response, error) {
	answer, err := b.next.Do(r)
	if err == nil {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(answer.Body, maxAnswerBytes), answer.Body}
	}
	return answer, err
}
